use super::*;

#[test]
fn sizes_and_spans_read_back_as_they_are_written() {
    for text in ["64 MiB", "10 GiB", "1000000 B", "3 KiB"] {
        assert_eq!(text.parse::<ByteSize>().map(|s| s.to_string()).as_deref(), Ok(text));
    }
    for text in ["500 ms", "30 s", "5 min", "24 h", "30 d"] {
        let span: Span = text.parse().expect(text);
        assert_eq!(span.to_string().parse::<Span>(), Ok(span));
    }
    for text in ["0 s", "10 s"] {
        assert_eq!(text.parse::<SpanOrZero>().map(|span| span.to_string()).as_deref(), Ok(text));
    }
    assert_eq!("1 MB".parse(), Ok(ByteSize::bytes(1_000_000)));
}

#[test]
fn nonsense_is_refused_with_what_would_be_right() {
    for text in ["", "ten", "10 parsecs", "-1 s", "99999999999999999999 B", "20000000 TiB"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    for text in ["0 s", "5", "1 month", "18446744073709551615 d"] {
        let error = text.parse::<Span>().expect_err(text);
        assert!(error.to_string().contains("30 s"), "{error}");
    }
    for text in ["0", "", "ten", "0 parsecs"] {
        let error = text.parse::<SpanOrZero>().expect_err(text);
        assert!(error.to_string().contains("0 s"), "{error}");
    }
    assert!(Ratio::new(1.1).is_err());
}

#[test]
fn a_secret_never_shows_itself() {
    let secret = Secret::new("canary");
    assert_eq!(format!("{secret:?}"), "***");
    assert_eq!(serde_json::to_string(&secret).ok().as_deref(), Some("\"***\""));
}
