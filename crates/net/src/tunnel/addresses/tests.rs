//! Every range with its edges, in every form that an address has.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

#[test]
fn forbidden_ranges_are_forbidden_to_their_edges() {
    for (first, last, what) in [
        ("0.0.0.0", "0.255.255.255", "unspecified"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "shared by a carrier's NAT"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("169.254.169.254", "169.254.169.254", "a cloud's metadata service"),
        ("168.63.129.16", "168.63.129.16", "Azure's wire server"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "reserved for protocols"),
        ("192.0.2.0", "192.0.2.255", "for documentation"),
        ("192.88.99.0", "192.88.99.255", "a 6to4 relay"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "for benchmarks"),
        ("198.51.100.0", "198.51.100.255", "for documentation"),
        ("203.0.113.0", "203.0.113.255", "for documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.254", "reserved"),
        ("255.255.255.255", "255.255.255.255", "broadcast"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discarded"),
        ("100:0:0:1::", "1fff:ffff::", "not in public use"),
        ("2001:2::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved for protocols"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
        ("4000::", "fbff:ffff::", "not in public use"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private (unique local)"),
        ("fd00:ec2::254", "fd00:ec2::254", "a cloud's metadata service"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "not in public use"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "a local translation to IPv4"),
        ("64:ff9b:2::", "64:ff9c::", "not in public use"),
    ] {
        for text in [first, last] {
            assert_eq!(check(address(text), &[]), Err(Forbidden(what)), "{text}");
        }
    }
}

#[test]
fn neighbours_of_forbidden_ranges_are_public() {
    for text in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::1",
        "2001:db7:ffff::",
        "2001:db9::",
        "2606:4700::1111",
        "3ffe:ffff::",
        "3fff:1000::",
    ] {
        assert_eq!(check(address(text), &[]), Ok(address(text)), "{text}");
    }
}

#[test]
fn an_address_inside_another_is_judged() {
    for (forms, forbidden) in [
        (
            ["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "2001:0:808:808::80ff:fffe"],
            "loopback",
        ),
        (
            ["::ffff:10.9.8.7", "::10.9.8.7", "64:ff9b::10.9.8.7", "2002:a09:807::1", "2001:0:808:808::f5f6:f7f8"],
            "private",
        ),
        (
            [
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "64:ff9b::169.254.169.254",
                "2002:a9fe:a9fe::1",
                "2001:0:a9fe:a9fe::f7f7:f7f7",
            ],
            "a cloud's metadata service",
        ),
    ] {
        for form in forms {
            assert_eq!(check(address(form), &[]), Err(Forbidden(forbidden)), "{form}");
        }
    }
    for (form, dialled) in [
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("::8.8.8.8", "::8.8.8.8"),
        ("64:ff9b::8.8.8.8", "64:ff9b::8.8.8.8"),
        ("2002:808:808::1", "2002:808:808::1"),
        ("2001:0:808:808::f7f7:f7f7", "2001:0:808:808::f7f7:f7f7"),
    ] {
        assert_eq!(check(address(form), &[]), Ok(address(dialled)), "{form}");
    }
}

#[test]
fn a_rule_opens_networks_and_nothing_beside_them() {
    let allowed = networks(&["10.20.0.0/16", "fd12::/16", "64:ff9b:1::/48"]);
    for text in ["10.20.0.1", "64:ff9b::10.20.0.1", "fd12::1", "64:ff9b:1::8.8.8.8", "8.8.8.8"] {
        assert_eq!(check(address(text), &allowed), Ok(address(text)), "{text}");
    }
    assert_eq!(check(address("::ffff:10.20.0.1"), &allowed), Ok(address("10.20.0.1")));
    for text in ["10.21.0.1", "fd13::1", "127.0.0.1", "169.254.169.254", "64:ff9b:1::127.0.0.1"] {
        assert!(check(address(text), &allowed).is_err(), "{text}");
    }
}

#[test]
fn one_forbidden_address_refuses_the_name() {
    let mixed = [address("8.8.8.8"), address("127.0.0.1")];
    assert_eq!(check_all(&mixed, &[]), Err(Forbidden("loopback")));
    assert_eq!(check_all(&mixed, &networks(&["127.0.0.0/8"])), Ok(mixed.to_vec()));
    assert_eq!(check_all(&[], &[]), Ok(Vec::new()));
}
