//! One request on a listener where hosts show tickets.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;

use super::{Outcome, Tickets};
use crate::event::Client;
use crate::inputs::http::auth::Admitted;
use crate::inputs::protocol::Head;
use crate::inputs::reason::{Failure, Reason};
use crate::net::gss::multipart::{self, Scheme};
use crate::net::gss::session::{Host, Session};

/// A request, from its head to its answer.
pub(in crate::inputs::wef) struct Visit {
    tickets: Arc<Tickets>,
    session: Option<Arc<Session>>,
    host: Option<Host>,
    is_sealed: bool,
    /// What the host is told of its negotiation.
    says: Option<HeaderValue>,
}

/// What opens the body of a request.
pub(in crate::inputs::wef) struct Opening {
    session: Arc<Session>,
    scheme: Scheme,
    is_sealed: bool,
}

impl Visit {
    pub(in crate::inputs::wef) fn new(tickets: Arc<Tickets>) -> Self {
        Self { tickets, session: None, host: None, is_sealed: false, says: None }
    }

    /// Who the host is, by the ticket that it shows now or showed before on its connection.
    pub(in crate::inputs::wef) async fn admit(&mut self, head: &Head<'_>) -> Result<Admitted, Failure> {
        head.gate.admit_address(head.peer)?;
        if head.parts.version >= Version::HTTP_2 {
            return Err(Failure::new(Reason::PARAMETER, "a ticket is for one connection and its order; use HTTP/1.1"));
        }
        let session = head.parts.extensions.get::<Arc<Session>>();
        let session = Arc::clone(session.ok_or_else(|| Failure::new(Reason::INTERNAL, Reason::INTERNAL.text))?);
        self.session = Some(Arc::clone(&session));
        let content_type = head.headers().get(header::CONTENT_TYPE);
        self.is_sealed = content_type.is_some_and(|kind| multipart::is_sealed(kind.as_bytes()));
        let client = match credentials(head.headers()) {
            Some((scheme, token)) => self.greet(head, &session, scheme, token).await?,
            None => self.known(&session)?,
        };
        let address = Some(head.peer.address.to_canonical());
        Ok(Admitted { client: Client { address, ..client }, grant: None })
    }

    /// The host shows a ticket.
    async fn greet(
        &mut self,
        head: &Head<'_>,
        session: &Session,
        scheme: Scheme,
        token: &str,
    ) -> Result<Client, Failure> {
        let length = head.headers().get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
        if head.headers().contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0") {
            return Err(Failure::new(Reason::PARAMETER, "a request that shows a ticket has no body"));
        }
        let said = |token: &str| HeaderValue::try_from(format!("{} {token}", scheme.name())).ok();
        match self.tickets.shown(head.peer, session, scheme, token).await? {
            Outcome::GoOn(token) => {
                self.says = said(&token);
                Err(Failure::new(Reason::TICKET_MISSING, "the negotiation goes on"))
            }
            Outcome::Known(client, host, token) => {
                self.says = said(&token).filter(|_| !token.is_empty());
                self.host = Some(host);
                Ok(*client)
            }
        }
    }

    /// The host showed its ticket before.
    fn known(&mut self, session: &Session) -> Result<Client, Failure> {
        let missing = "a ticket of Kerberos is needed (Authorization: Kerberos or Negotiate)";
        let host = session.host().ok_or_else(|| Failure::new(Reason::TICKET_MISSING, missing))?;
        if host.is_over() {
            session.end();
            return Err(Failure::new(Reason::TICKET_REFUSED, "the ticket of this connection is past its time"));
        }
        let client = self.tickets.names.client(&host.principal);
        let not_any_more = || Failure::new(Reason::PRINCIPAL, format!("{:?} is not let in any more", host.principal));
        let client = client.ok_or_else(not_any_more)?;
        self.host = Some(host);
        Ok(client)
    }

    /// What opens the body, if its host is known.
    pub(in crate::inputs::wef) fn opening(&self) -> Option<Opening> {
        let (session, host) = (self.session.as_ref()?, self.host.as_ref()?);
        Some(Opening { session: Arc::clone(session), scheme: host.scheme, is_sealed: self.is_sealed })
    }

    /// An answer as its host is to get it: sealed where it has a body.
    pub(in crate::inputs::wef) fn sealed(&self, response: Response<Body>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        let message =
            body.collect().now_or_never().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let mut body = Body::empty();
        if let (Some(host), false) = (&self.host, message.is_empty()) {
            let kind = parts.headers.remove(header::CONTENT_TYPE);
            let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let sealed = self.session.as_ref().and_then(|session| session.seal(&message));
            let Some(sealed) = sealed else { return ended() };
            body = multipart::written(host.scheme, kind, message.len(), &sealed).into();
            let kind = HeaderValue::try_from(multipart::content_type(host.scheme)).expect("it is plain text");
            parts.headers.insert(header::CONTENT_TYPE, kind);
        }
        if let Some(says) = &self.says {
            parts.headers.insert(header::WWW_AUTHENTICATE, says.clone());
        }
        // Behind the answer to a ticket the first message is still to come.
        if self.says.is_none() && self.host.as_ref().is_some_and(Host::should_renew) {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Response::from_parts(parts, body)
    }

    /// A refusal as its host is to get it. It is not sealed: Windows reads nothing but the status.
    pub(in crate::inputs::wef) fn refused(&self, failure: &Failure, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        match &self.says {
            Some(says) => {
                headers.insert(header::WWW_AUTHENTICATE, says.clone());
            }
            None if failure.reason.status == 401 => {
                for scheme in Scheme::ALL {
                    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme.name()));
                }
            }
            None => {}
        }
        // Who is asked for a ticket shows it on this connection. Behind a ticket or a seal that is not right nothing follows.
        if [Reason::TICKET_REFUSED, Reason::PRINCIPAL, Reason::SEAL, Reason::TICKETS_BUSY].contains(&failure.reason) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Opening {
    /// The message of a body.
    pub(in crate::inputs::wef) fn open(self, body: Bytes) -> Result<Bytes, Failure> {
        let failure = |error: &dyn std::error::Error| Failure::new(Reason::SEAL, error.to_string());
        if !self.is_sealed {
            return Err(Failure::new(Reason::SEAL, "the body is not sealed, although the host has shown a ticket"));
        }
        let framed = multipart::read(&body, self.scheme).map_err(|error| {
            self.session.end();
            failure(&error)
        })?;
        let mut body = body.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        body.truncate(framed.sealed.end);
        let message = self.session.open(body.split_off(framed.sealed.start)).map_err(|error| failure(&error))?;
        if framed.length.is_some_and(|length| length != message.len() as u64) {
            tracing::debug!(
                told = framed.length,
                is = message.len(),
                "a sealed message has another length than its host says"
            );
        }
        Ok(message.freeze())
    }
}

/// The connection has lost its context.
fn ended() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The one ticket that a request shows.
fn credentials(headers: &HeaderMap) -> Option<(Scheme, &str)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let known = Scheme::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(scheme))?;
    Some((known, token.trim()))
}
