use http_body_util::BodyExt as _;

use super::*;
use crate::event::from_utf16::Order;
use crate::inputs::wef::envelope::{Envelope, text};
use crate::inputs::wef::subscription::{Content, Pace, Subscription};

const ASKED: &str = "uuid:eC9F4CA0-2D5F-4bba-8D4E-0DB0D0E3F1A5";

fn subscription() -> Subscription {
    Subscription {
        id: "4D2C".to_owned(),
        name: "Sign-ins & more".to_owned(),
        query_list:
            "<QueryList><Query Id=\"0\"><Select Path=\"Security\">*[System[Level &lt;= 3]]</Select></Query></QueryList>"
                .to_owned(),
        whole: Vec::new(),
        content: Content::Raw,
        compress: true,
        read_existing_events: false,
        pace: Pace { heartbeat_s: 3600, max_time_s: 30, retry_s: 60, max_elements: None },
    }
}

fn written(response: Response<Body>) -> (String, String) {
    let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
    let body = futures_util::FutureExt::now_or_never(response.into_body().collect());
    let body = body.expect("it is there").expect("it is whole").to_bytes();
    (kind, String::from_utf8(text::read(&body).expect("text")).expect("text"))
}

fn told(start: Start, charset: Charset) -> (String, String) {
    let subscription = subscription();
    let one = Subscribe {
        subscription: &subscription,
        version: "AB".to_owned(),
        notify_to: "https://gateway.test:5986/wsman/subscriptions/4D2C/1".to_owned(),
        issuer: Some("0123456789ABCDEF0123456789ABCDEF01234567"),
        start,
    };
    written(subscriptions(ASKED, &[one], charset))
}

#[test]
fn an_answer_repeats_the_message_id_byte_for_byte_and_no_operation_id() {
    let (kind, ack) = written(ack(ASKED, Charset::Utf16(Order::Little)));
    assert_eq!(kind, "application/soap+xml;charset=UTF-16");
    assert!(ack.contains(&format!("<a:RelatesTo>{ASKED}</a:RelatesTo>")), "{ack}");
    assert!(ack.contains("<a:Action>http://schemas.dmtf.org/wbem/wsman/1/wsman/Ack</a:Action>"), "{ack}");
    assert!(!ack.contains("OperationID"), "{ack}");
    let read = Envelope::read(ack.as_bytes()).expect("an envelope");
    assert_ne!(read.header.message_id, ASKED, "it has an id of its own");
}

#[test]
fn an_enumeration_is_whole_in_one_answer() {
    let (kind, text) = told(Start::Now, Charset::Utf8);
    assert_eq!(kind, "application/soap+xml;charset=UTF-8");
    // With anything in its context Windows would pull.
    for part in [
        "<n:EnumerationContext/>",
        "<w:EndOfSequence/>",
        "<m:Version>uuid:AB</m:Version>",
        "<w:Option Name=\"SubscriptionName\">Sign-ins &amp; more</w:Option>",
        "<w:Option Name=\"Compression\">SLDC</w:Option>",
        "<w:Option Name=\"CDATA\" xsi:nil=\"true\"/>",
        "<w:Option Name=\"ContentFormat\">Raw</w:Option>",
        "<w:Heartbeats>PT3600.000S</w:Heartbeats>",
        "<w:ConnectionRetry Total=\"5\">PT60.000S</w:ConnectionRetry>",
        "<w:MaxTime>PT30.000S</w:MaxTime>",
        "<a:Address>https://gateway.test:5986/wsman/subscriptions/4D2C/1</a:Address>",
        "<e:Identifier>4D2C</e:Identifier>",
        "<auth:Thumbprint Role=\"issuer\">0123456789ABCDEF0123456789ABCDEF01234567</auth:Thumbprint>",
        "<Select Path=\"Security\">*[System[Level &lt;= 3]]</Select>",
        "<w:SendBookmarks/>",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("w:Bookmark>") && !text.contains("ReadExistingEvents"), "{text}");
    assert!(Envelope::read(text.as_bytes()).is_ok(), "{text}");
}

#[test]
fn a_host_begins_where_its_bookmark_says() {
    let bookmark = "<BookmarkList><Bookmark Channel=\"a&amp;b\" RecordId=\"5\" IsCurrent=\"true\"/></BookmarkList>";
    let (_, behind) = told(Start::Behind(bookmark.to_owned()), Charset::Utf8);
    assert!(behind.contains(&format!("<w:Bookmark>{bookmark}</w:Bookmark>")), "{behind}");
    let (_, earliest) = told(Start::Earliest, Charset::Utf8);
    assert!(earliest.contains("<w:Bookmark>http://schemas.dmtf.org/wbem/wsman/1/wsman/bookmark/earliest</w:Bookmark>"));
}

#[test]
fn the_version_changes_when_and_only_when_the_host_sees_a_change() {
    let version = |change: &dyn Fn(&mut Subscription)| {
        let mut subscription = subscription();
        change(&mut subscription);
        subscription.version("https://a", "01")
    };
    let before = version(&|_| {});
    assert_eq!(before, version(&|subscription| subscription.whole.push("security".to_owned())), "no host sees that");
    let changes: [&dyn Fn(&mut Subscription); 9] = [
        &|subscription| subscription.id.push('0'),
        &|subscription| subscription.name.push('!'),
        &|subscription| subscription.pace.heartbeat_s = 60,
        &|subscription| subscription.pace.max_elements = Some(5),
        &|subscription| subscription.query_list.push(' '),
        &|subscription| subscription.content = Content::Rendered,
        &|subscription| subscription.pace.max_time_s = 31,
        &|subscription| subscription.compress = false,
        &|subscription| subscription.read_existing_events = true,
    ];
    for change in changes {
        assert_ne!(before, version(change));
    }
    assert_ne!(before, subscription().version("https://b", "01"));
    assert_ne!(before, subscription().version("https://a", "02"));
}
