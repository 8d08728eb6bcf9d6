//! Uploads of agents, made records: in their client's turn, within the memory of the listener.

use std::sync::Arc;

use bytes::Bytes;

use super::catalogue::{DIAGNOSTICS, Way, is_data_type};
use super::exchange::Exchange;
use super::json::{self, Envelope};
use super::{RESOURCE_ID, RETRY_COUNT, text, xml};
use crate::event::{Damaged, Known, Syntax};
use crate::inputs::grown::memory_of;
use crate::inputs::http::body::Share;
use crate::inputs::http::readable::Readable;
use crate::inputs::intake::Intake;
use crate::inputs::protocol::{Content, Reading};
use crate::inputs::reason::{Failure, Reason};

/// The most bytes of an upload. Agents for Linux send 15 MB at once.
const BODY_MAX: u64 = 30 << 20;
/// The longest Azure resource id.
const RESOURCE_ID_MAX: usize = 1024;

/// What became of the body of an upload.
struct Made {
    way: Way,
    text: Vec<u8>,
    damaged: Vec<Damaged>,
    known: Option<Arc<Known>>,
    /// Whether an item tells a time.
    timed: bool,
}

impl Made {
    /// Whether each record of it is known by its own record id, so that nobody asks by what the upload is known.
    fn is_known_by_its_events(&self) -> bool {
        self.damaged.is_empty() && self.known.as_ref().is_some_and(|known| known.are_identified())
    }
}

impl Exchange {
    /// An upload in JSON.
    pub(super) async fn json(&mut self, intake: &mut Intake<'_>, is_diagnostics: bool) -> Result<Reading, Failure> {
        self.upload(intake, move |ods, body, of, limit, share| {
            let envelope = Envelope::read(body)?;
            let named = envelope.data_type.as_deref().filter(|_| !is_diagnostics);
            let name = if is_diagnostics { DIAGNOSTICS } else { named.unwrap_or_default() };
            let way = way(ods, name)?;
            let how =
                json::How { columns: &[], computer: of.computer.as_deref(), resource_id: of.resource_id.as_deref() };
            let json::Rows { text, damaged, known, timed } =
                envelope.rewrite(how.with(way.columns), limit, body.len() as u64, share)?;
            Ok(Made { way, text, damaged, known, timed })
        })
        .await
    }

    /// An upload in XML.
    pub(super) async fn xml(&mut self, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        self.upload(intake, |ods, body, of, limit, share| {
            let way = way(ods, &xml::data_type(body)?)?;
            let how = xml::How { computer: of.computer.as_deref(), resource_id: of.resource_id.as_deref() };
            let xml::Rows { text, damaged, known, timed } = xml::rewrite(body, how, limit, share)?;
            Ok(Made { way, text, damaged, known, timed })
        })
        .await
    }

    async fn upload(
        &mut self,
        intake: &mut Intake<'_>,
        rewrite: impl FnOnce(&super::Ods, &[u8], &Of, u64, &mut Share) -> Result<Made, Failure> + Send + 'static,
    ) -> Result<Reading, Failure> {
        let head = *intake.head();
        let of = Of { computer: self.caller.computer(), resource_id: resource_id(text(head.headers(), RESOURCE_ID))? };
        let body = self.body(intake).await?;
        let (limit, ods, own) = (intake.body_max(), Arc::clone(&self.ods), self.caller.own());
        let marks = intake.upload_mark();
        // Who sends it, and its body as it was before it was packed.
        let mark = marks.clone().and(own.as_bytes());
        let work = move |share: &mut Share| -> Result<(Made, Option<[u8; 32]>), Failure> {
            let made = rewrite(&ods, &body, &of, limit, share)?;
            let parts = || mark.and(of.resource_id.as_deref().unwrap_or_default().as_bytes());
            let mark = (!made.is_known_by_its_events()).then(|| parts().and(&body).finish());
            drop(body);
            share.shrink_to(memory_of(&made.text, made.known.as_deref()));
            Ok((made, mark))
        };
        let (Made { way, text, damaged, known, timed }, of_body) = intake.work(work).await??;
        let is_first_try = super::text(head.headers(), RETRY_COUNT) == Some("0");
        self.mark = of_body.map(|of_body| match timed {
            true => of_body,
            false => marks.and(&of_body).and(&self.ods.memory.rounds.of(&of_body, is_first_try)).finish(),
        });
        let then = Some(self.heard_then(&head));
        let (stream, syntax, body) = (way.stream, Syntax::Enveloped, Bytes::from(text));
        Ok(Reading::Events(Content { stream, syntax, body, damaged, known, then }))
    }

    /// The body out of its compression, as text.
    async fn body(&self, intake: &mut Intake<'_>) -> Result<Bytes, Failure> {
        intake.at_most(BODY_MAX);
        let body = intake.decompressed().await?;
        if body.len() as u64 > BODY_MAX {
            return Err(Failure::new(Reason::BODY_TOO_LARGE, format!("the body is larger than {BODY_MAX} bytes")));
        }
        let Readable { body, .. } = intake.readable(body, Syntax::JsonArray).await?;
        Ok(body)
    }
}

/// Whose items they are, where these do not say.
struct Of {
    computer: Option<Arc<str>>,
    resource_id: Option<String>,
}

fn way(ods: &super::Ods, name: &str) -> Result<Way, Failure> {
    if !is_data_type(name) {
        return Err(Failure::new(Reason::PARAMETER, "the data type is missing, or is not letters, digits and \"_\""));
    }
    ods.catalogue.way(name).ok_or_else(|| {
        let text = format!(
            "the data type {name} is not known here, and no ods.unknown_stream takes it; name a stream for it in ods.data_types"
        );
        Failure::named(Reason::DESTINATION, "UnknownDataType", text)
    })
}

fn resource_id(told: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(told) = told else { return Ok(None) };
    if told.len() <= RESOURCE_ID_MAX && told.starts_with('/') {
        return Ok(Some(told.to_owned()));
    }
    let text = "x-ms-AzureResourceId is no resource id, such as /subscriptions/…/resourceGroups/…/providers/…";
    Err(Failure::new(Reason::PARAMETER, text))
}
