# Two stages: build with the Rust image, run from distroless with nothing but the binary and the library of Kerberos that it is linked
# to, as a numeric non-root user.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
COPY deploy/haproxy deploy/haproxy
COPY benches benches
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends libkrb5-dev libclang-dev pkg-config
# The commit, for gatepost_build_info: docker build --build-arg GATEPOST_REVISION=$(git rev-parse --short=12 HEAD) .
ARG GATEPOST_REVISION=unknown
RUN cargo build --release --locked --features kerberos --bin gatepost \
    && install -d /out/lib \
    && ldd target/release/gatepost | awk '/gssapi|krb5|k5crypto|com_err|keyutils|resolv/ { print $3 }' | xargs -I FILE cp -L FILE /out/lib/ \
    && install -d -m 0700 /out/state \
    && install -m 0755 target/release/gatepost /out/gatepost

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/gatepost /usr/local/bin/gatepost
COPY --from=build /out/lib /usr/lib/gatepost
ENV LD_LIBRARY_PATH=/usr/lib/gatepost
# Memory that is not needed any more goes back to the system, as in deploy/systemd.
ENV MIMALLOC_PURGE_DELAY=50
COPY --from=build --chown=65532:65532 /out/state /var/lib/gatepost
USER 65532:65532
VOLUME /var/lib/gatepost
# Uploads, tunnels, and the admin plane.
EXPOSE 8443 8080 8449
# With [admin.tls] override it: check --ready --admin https://127.0.0.1:8449 --admin-ca FILE.
# Named here, or a configuration file that is broken later (and rightly ignored by the running gateway) would look unhealthy.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/gatepost", "check", "--ready", "--admin", "http://127.0.0.1:8449"]
ENTRYPOINT ["/usr/local/bin/gatepost"]
CMD ["run", "--config", "/etc/gatepost/gatepost.toml"]
