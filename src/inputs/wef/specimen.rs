//! Event forwarding as a Windows host speaks it, but for its certificate: the suite has tokens.

use http::StatusCode;

use super::derived_id;
use super::envelope::{Charset, text};
use crate::event::from_utf16::Order;
use crate::inputs::conformance::{self, Answer, Sent};
use crate::inputs::registry::Protocols;
use crate::lab::events::{Shape, SimulatedEvent};

pub(in crate::inputs) struct Specimen;

const WINDOWS: Charset = Charset::Utf16(Order::Little);

impl conformance::Specimen for Specimen {
    fn enable(&self, protocols: &mut Protocols) {
        protocols.wef.enabled = true;
    }

    fn upload(&self, events: &[SimulatedEvent], unreadable: usize) -> Sent {
        let sound = events.iter().map(|event| String::from_utf8_lossy(&event.render(Shape::Xml)).into_owned());
        let other = (0..unreadable).map(|n| format!("<Other>{n}{}</Other>", fastrand::u64(..)));
        let events: String = sound.chain(other).map(|one| format!("<w:Event><![CDATA[{one}]]></w:Event>")).collect();
        let id = derived_id("agents", 0);
        let envelope = format!(
            "<s:Envelope xmlns:s=\"x\"><s:Header><a:Action>http://schemas.dmtf.org/wbem/wsman/1/wsman/Events</a:Action>\
             <a:MessageID>uuid:1</a:MessageID><m:MachineID>pc1</m:MachineID><e:Identifier>{id}</e:Identifier>\
             <w:Bookmark><BookmarkList/></w:Bookmark><w:AckRequested/></s:Header><s:Body><w:Events>{events}</w:Events></s:Body></s:Envelope>"
        );
        let target = format!("/wsman/subscriptions/{id}/1");
        Sent::post(&target, "application/soap+xml;charset=UTF-16", text::write(&envelope, WINDOWS))
    }

    fn is_success(&self, answer: &Answer) -> bool {
        let text = text::read(&answer.body).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        answer.status == StatusCode::OK
            && text.contains("wsman/Ack<")
            && text.contains("<a:RelatesTo>uuid:1</a:RelatesTo>")
    }

    /// Windows takes every other status for "not yet".
    fn is_sent_again(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::SERVICE_UNAVAILABLE
    }

    fn counts(&self, _: &Answer) -> Option<[u64; 5]> {
        None
    }
}
