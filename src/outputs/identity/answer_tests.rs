use bytes::Bytes;
use http::HeaderMap;
use http::header::DATE;

use super::*;

fn answer(status: u16, date: Option<&str>, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(date) = date {
        headers.insert(DATE, date.parse().unwrap());
    }
    Answer { status, retry_after: None, headers, body: Bytes::from(body.to_owned()) }
}

fn life(body: &str) -> Option<u64> {
    // 784111777 is the date of RFC 9110's own example.
    let answer = answer(200, Some("Sun, 06 Nov 1994 08:49:37 GMT"), body);
    read("x", &answer, &[]).ok().and_then(Result::ok).map(|fetched| fetched.life.as_secs())
}

#[test]
fn lives_are_numbers_or_texts_and_an_end_is_measured_by_the_answers_own_clock() {
    assert_eq!(life(r#"{"access_token":"t","token_type":"bearer","expires_in":3599}"#), Some(3599));
    assert_eq!(life(r#"{"access_token":"t","expires_in":"86399","expires_on":"1"}"#), Some(86_399));
    assert_eq!(life(r#"{"access_token":"t","expires_on":"784115377"}"#), Some(3600));
    assert_eq!(life(r#"{"access_token":"t","expires_on":784115377,"expires_in":null}"#), Some(3600));
    assert_eq!(life(r#"{"access_token":"t","expires_in":9e99}"#), None);
    assert_eq!(life(r#"{"access_token":"t","expires_in":99999999999999}"#), Some(LIFE_MAX.as_secs()));
}

#[test]
fn what_is_no_good_token_is_none() {
    for body in [
        r#"{"access_token":"t","expires_in":0}"#,
        r#"{"access_token":"t","expires_in":-5}"#,
        r#"{"access_token":"t","expires_on":"784111777"}"#,
        r#"{"access_token":"t"}"#,
        r#"{"access_token":"","expires_in":3599}"#,
        "{\"access_token\":\"a b\",\"expires_in\":3599}",
        "{\"access_token\":\"a\\r\\nx: y\",\"expires_in\":3599}",
        r#"{"access_token":"t","token_type":"mac","expires_in":3599}"#,
        r#"{"access_token":7,"expires_in":3599}"#,
        r#"{"access_token":"t","expires_in":3599"#,
        "[]",
        "",
        "<html>",
    ] {
        assert_eq!(life(body), None, "{body}");
    }
}

#[test]
fn no_error_shows_the_token_that_could_not_be_used() {
    for body in
        ["{\"access_token\":\"canary\",\"expires_in\":\"canary\"}", "{\"access_token\":\"canary\"", "\"canary\""]
    {
        let failure = read("x", &answer(200, None, body), &[]).unwrap_err();
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}

fn refused(status: u16, body: &str) -> Refusal {
    read("x", &answer(status, None, body), &["canary+secret"]).unwrap().unwrap_err()
}

#[test]
fn refusals_keep_their_code_and_first_line_and_no_secret() {
    let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid canary+secret canary%2Bsecret. Trace ID: 5\r\nmore","error_codes":[7000215]}"#;
    let refusal = refused(401, body);
    assert_eq!(refusal.code, Some(7_000_215));
    assert_eq!(refusal.text, "invalid_client: AADSTS7000215: Invalid *** ***.");
    assert_eq!(refused(400, r#"{"error":"x","error_description":"AADSTS90002: no"}"#).code, Some(90_002));
    assert_eq!(refused(403, r#"{"error":{"code":"Denied","message":"no"}}"#).text, "Denied: no");
    let long = format!(r#"{{"error":"{}\u001b[31m"}}"#, "x".repeat(1000));
    assert_eq!(refused(400, &long).text.chars().count(), SHOWN_MAX);
    assert_eq!(refused(502, "<html>canary</html>").text, "");
}

#[test]
fn time_mends_some_refusals_and_a_person_others() {
    for status in [404, 408, 410, 429, 500, 503] {
        assert_eq!(refused(status, "").mends(), Mends::ByItself, "{status}");
    }
    assert_eq!(refused(400, r#"{"error_codes":[90033]}"#).mends(), Mends::ByItself);
    assert_eq!(refused(401, r#"{"error_codes":[7000215]}"#).mends(), Mends::ByHand);
    assert_eq!(refused(400, "{}").mends(), Mends::ByHand);
}
