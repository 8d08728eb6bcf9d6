//! How a record is written: as one JSON object, or for people.

use super::record::Record;
use crate::access_log::text::{Millis, Rfc3339, member, named, put, quoted, word};
use crate::access_log::{Format, Line};
use crate::tunnel::config::TlsVersion;

impl Line for Record {
    fn append(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => json(self, out),
            Format::Human => human(self, out),
        }
    }
}

fn json(record: &Record, out: &mut Vec<u8>) {
    put(out, format_args!("{{\"time\":\"{}\",\"listener\":", Rfc3339(record.time)));
    quoted(&record.listener, out);
    put(out, format_args!(",\"client\":\"{}\"", record.client));
    member(out, "identity", record.identity.as_deref());
    member(out, "user_agent", record.user_agent.as_deref());
    member(out, "destination", record.destination.as_deref());
    if let Some(address) = record.address {
        put(out, format_args!(",\"address\":\"{address}\""));
    }
    member(out, "via", record.via.as_deref());
    member(out, "sni", record.sni.as_deref());
    member(out, "tls_version", record.tls_version.map(version));
    member(out, "rule", record.rule.as_deref());
    put(out, format_args!(",\"bytes_up\":{},\"bytes_down\":{}", record.bytes_up, record.bytes_down));
    put(out, format_args!(",\"duration_ms\":{}", Millis(record.duration)));
    if let Some(dial) = record.dial {
        put(out, format_args!(",\"dial_ms\":{}", Millis(dial)));
    }
    if let Some(status) = record.status {
        put(out, format_args!(",\"status\":{status}"));
    }
    let reason = &record.reason;
    put(out, format_args!(",\"reason\":\"{}\",\"oms_event_id\":{}", reason.code, reason.oms_event_id));
    member(out, "detail", record.detail.as_deref());
    out.push(b'}');
}

/// Time, client, destination, result, bytes and duration stand in fixed places; the rest has names.
fn human(record: &Record, out: &mut Vec<u8>) {
    put(out, format_args!("{} {} ", Rfc3339(record.time), record.client));
    word(record.destination.as_deref().unwrap_or("?"), out);
    put(out, format_args!(" {}", record.reason.code));
    match record.status {
        Some(status) => put(out, format_args!(" {status}")),
        None => out.extend_from_slice(b" -"),
    }
    put(out, format_args!(" up {} down {}", record.bytes_up, record.bytes_down));
    put(out, format_args!(" {:.3}s", record.duration.as_secs_f64()));
    for (name, value) in [
        ("listener", Some(&*record.listener)),
        ("rule", record.rule.as_deref()),
        ("identity", record.identity.as_deref()),
        ("via", record.via.as_deref()),
        ("sni", record.sni.as_deref()),
        ("tls", record.tls_version.map(version)),
        ("user_agent", record.user_agent.as_deref()),
        ("detail", record.detail.as_deref()),
    ] {
        named(out, name, value);
    }
    if let Some(address) = record.address {
        put(out, format_args!(" address={address}"));
    }
    if let Some(dial) = record.dial {
        put(out, format_args!(" dial={}ms", Millis(dial)));
    }
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V10 => "1.0",
        TlsVersion::V11 => "1.1",
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tunnel::reason::Reason;

    fn full() -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007),
            identity: Some("ali".into()),
            user_agent: Some("curl/8".to_owned()),
            destination: Some("host.example:443".to_owned()),
            address: Some("192.0.2.7:443".parse().expect("an address")),
            via: Some("dmz".into()),
            sni: Some("host.example".to_owned()),
            tls_version: Some(TlsVersion::V13),
            rule: Some("azure".into()),
            bytes_up: 517,
            bytes_down: 4_096,
            duration: Duration::from_micros(1_234_567),
            dial: Some(Duration::from_micros(850)),
            status: Some(200),
            detail: Some("two words".to_owned()),
            ..Record::new("tunnel".into(), "10.1.2.3:50123".parse().expect("an address"), Reason::CLOSED)
        }
    }

    fn written(record: &Record, format: Format) -> String {
        let mut out = Vec::new();
        record.append(format, &mut out);
        out.push(b'\n');
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_full_line() {
        assert_eq!(
            written(&full(), Format::Json),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.007Z","listener":"tunnel","client":"10.1.2.3:50123","identity":"ali","#,
                r#""user_agent":"curl/8","destination":"host.example:443","address":"192.0.2.7:443","via":"dmz","#,
                r#""sni":"host.example","tls_version":"1.3","rule":"azure","bytes_up":517,"bytes_down":4096,"#,
                r#""duration_ms":1234.567,"dial_ms":0.850,"status":200,"reason":"closed","oms_event_id":107,"#,
                r#""detail":"two words"}"#,
                "\n"
            )
        );
        assert_eq!(
            written(&full(), Format::Human),
            "2023-11-14T22:13:20.007Z 10.1.2.3:50123 host.example:443 closed 200 up 517 down 4096 1.235s \
             listener=tunnel rule=azure identity=ali via=dmz sni=host.example tls=1.3 user_agent=curl/8 \
             detail=\"two words\" address=192.0.2.7:443 dial=0.850ms\n"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let client = "[2001:db8::1]:1".parse().expect("an address");
        let line = written(&Record::new("t".into(), client, Reason::HEAD_TIMEOUT), Format::Json);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected =
            ["time", "listener", "client", "bytes_up", "bytes_down", "duration_ms", "reason", "oms_event_id"];
        expected.sort_unstable();
        let mut found = keys;
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_that_a_client_sent_forges_a_line_or_a_field() {
        for vector in [
            "\u{1b}[31mevil.test:443",
            "evil.test%0d%0aX:443",
            "evil\r\n{\"time\":\"forged\"}",
            "\u{202e}tset.live",
            "\",\"reason\":\"closed\",\"x\":\"\\",
            "a reason=closed up 1 down 2",
            &"A".repeat(10_240),
            &"\u{1b}".repeat(10_240),
        ] {
            let sent = || Some(vector.to_owned());
            let record = Record {
                user_agent: sent(),
                destination: sent(),
                sni: sent(),
                detail: sent(),
                identity: Some(vector.into()),
                ..full()
            };
            for format in [Format::Json, Format::Human] {
                let line = written(&record, format);
                assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\n'), "{line}");
                assert_eq!(line.matches('\n').count(), 1);
                assert!(line.len() < 6 * 256 + 600);
            }
            let value: serde_json::Value = serde_json::from_str(&written(&record, Format::Json)).expect("JSON");
            assert_eq!(value["reason"], "closed");
            assert_eq!(value.as_object().expect("an object").len(), 19);
            let shown = value["user_agent"].as_str().expect("text");
            assert!(shown == vector || vector.starts_with(shown.strip_suffix("...").expect("cut")));
        }
    }
}
