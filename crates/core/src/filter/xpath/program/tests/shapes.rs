//! One event in XML and in the shapes of JSON: queries get the same answers.

use super::*;

fn json(raw: &str) -> Event<'_> {
    Event { format: Format::Json, raw: raw.as_bytes(), fields: from_json::scan(raw, 0).expect(raw).fields }
}

/// Holds the answers that both give to each query against those that are expected.
fn answer_alike(in_xml: &str, in_json: &[&str], queries: &[(&str, bool)]) {
    for (query, expected) in queries {
        let program = program(query);
        assert_eq!(matches(&program, &xml(in_xml)), *expected, "{query} of {in_xml}");
        for raw in in_json {
            assert_eq!(matches(&program, &json(raw)), *expected, "{query} of {raw}");
        }
    }
}

#[test]
fn keywords_are_the_same_bits_as_numbers_and_as_words() {
    answer_alike(
        "<Event><System><Keywords>0x8020000000000000</Keywords></System></Event>",
        &[
            r#"{"Keywords":-9214364837600034816}"#,
            r#"{"Keywords":9232379236109516800}"#,
            r#"{"Keywords":"-9214364837600034816"}"#,
            r#"{"Keywords":"0x8020000000000000"}"#,
            r#"{"Keywords":"Audit Success"}"#,
            r#"{"winlog":{"keywords":["Audit Success"]}}"#,
            r#"{"winlog.keywords":["audit success"]}"#,
            r#"{"body":{"keywords":["Audit Success"]}}"#,
            r#"{"Event":{"System":{"Keywords":-9214364837600034816}}}"#,
            r##"{"Event":{"System":{"Keywords":{"#text":["Audit Success"]}}}}"##,
        ],
        &[
            ("*[System[band(Keywords,13510798882111488)]]", true),
            ("*[System[band(Keywords,9007199254740992)]]", true),
            ("*[System[band(Keywords,4503599627370496)]]", false),
            ("*[System[Keywords='0x8020000000000000']]", true),
            ("*[System[Keywords=9232379236109516800]]", true),
            ("*[System[Keywords<0]]", false),
        ],
    );
    answer_alike(
        "<Event><System><Keywords>0x8090000000000000</Keywords></System></Event>",
        &[
            r#"{"Keywords":-9182839640208441344}"#,
            r#"{"Keywords":"Audit Failure, Classic"}"#,
            r#"{"keywords":["Classic","Another","Audit Failure"]}"#,
        ],
        &[
            ("*[System[band(Keywords,13510798882111488)]]", true),
            ("*[System[band(Keywords,9007199254740992)]]", false),
            ("*[System[band(Keywords,36028797018963968)]]", true),
            ("*[System[Keywords='0x8090000000000000']]", true),
        ],
    );
    answer_alike(
        "<Event><System><Keywords>Another</Keywords></System></Event>",
        &[r#"{"Keywords":"Another"}"#, r#"{"System":{"Keywords":["Another"]}}"#],
        &[("*[System[Keywords='Another']]", true), ("*[System[band(Keywords,1)]]", false)],
    );
}

#[test]
fn band_takes_negative_numbers_as_64_bits() {
    for (value, mask, expected) in [
        ("-1", "0x8000000000000001", true),
        ("-9214364837600034816", "0x20000000000000", true),
        ("-9214364837600034816", "0x10000000000000", false),
        ("-9223372036854775809", "0xFFFFFFFFFFFFFFFF", false),
        ("18446744073709551615", "1", true),
        ("18446744073709551616", "0xFFFFFFFFFFFFFFFF", false),
        ("-1.5", "0xFFFFFFFFFFFFFFFF", false),
    ] {
        let raw = format!("<Event><EventData><Data>{value}</Data></EventData></Event>");
        let query = format!("*[EventData[band(Data,{mask})]]");
        assert_eq!(matches(&program(&query), &xml(&raw)), expected, "{query} of {raw}");
    }
}

#[test]
fn a_level_in_words_is_its_number() {
    answer_alike(
        "<Event><System><Level>4</Level></System></Event>",
        &[
            r#"{"Level":"Information"}"#,
            r#"{"level":"INFORMATIONAL"}"#,
            r#"{"log.level":"information"}"#,
            r#"{"log":{"level":"information"}}"#,
            r#"{"body":{"level":"Information"}}"#,
            r#"{"Event":{"System":{"Level":"Information"}}}"#,
            r#"{"level":"Error","level_value":4}"#,
        ],
        &[
            ("*[System[Level=4]]", true),
            ("*[System[Level='4']]", true),
            ("*[System[(Level=1 or Level=2 or Level=3)]]", false),
            ("*[System[*=4]]", true),
            ("*[System[Level='Information']]", false),
        ],
    );
}

#[test]
fn white_space_around_what_system_says_does_not_count() {
    answer_alike(
        "<Event><System><Provider Name=' P '/><EventID>\n 7 \n</EventID><Task>\n 3\n</Task><Channel>\n  Security\n</Channel>\
         <Computer>\n  h\n</Computer></System><EventData><Data Name='a'> x </Data></EventData></Event>",
        &[
            r#"{"Provider":"P ","EventID":" 7","Task":" 3","Channel":"\nSecurity","Computer":"h\n","EventData":{"a":" x "}}"#,
            r##"{"Event":{"System":{"Provider":{"#attributes":{"Name":" P"}},"EventID":"7\n","Task":"3 ","Channel":{"#text":"Security "},"Computer":"\th"},"EventData":{"a":" x "}}}"##,
        ],
        &[
            ("*[System[Channel='Security' and Computer='h' and EventID=7]]", true),
            ("*[System[Provider[@Name='P']]]", true),
            // Those look at the tree.
            ("*[System[*='Security'] and System[*='h'] and System[*/@Name='P']]", true),
            ("*[System[Task='3']]", true),
            ("*[EventData[Data[@Name='a']='x']]", false),
            ("*[EventData[Data[@Name='a']=' x ']]", true),
        ],
    );
}

#[test]
fn what_may_be_event_data_is_found_as_such_in_flat_records() {
    answer_alike(
        "<Event><System><EventID>1</EventID><Version>2</Version><Execution ProcessID='5' ThreadID='6'/><Channel>c</Channel>\
         <Computer>h</Computer><Security UserID='S-1-5-18'/></System><EventData><Data Name='ProcessID'>5</Data>\
         <Data Name='ThreadID'>6</Data><Data Name='UserID'>S-1-5-18</Data><Data Name='Version'>2</Data></EventData></Event>",
        &[r#"{"EventID":1,"Version":2,"ProcessID":"5","ThreadID":6,"UserID":"S-1-5-18","Channel":"c","Computer":"h"}"#],
        &[
            ("*[EventData[Data[@Name='ProcessID']=5]]", true),
            ("*[EventData[Data[@Name='ThreadID']=6 and Data[@Name='UserID']='S-1-5-18']]", true),
            ("*[EventData[Data[@Name='Version']=2]] and *[System[Version=2]]", true),
            ("*[System[Execution[@ProcessID=5 and @ThreadID=6] and Security[@UserID='S-1-5-18']]]", true),
            ("*[EventData[Data[@Name='EventID'] or Data[@Name='Channel'] or Data[@Name='Computer']]]", false),
        ],
    );
    let with_data = json(r#"{"ProcessID":5,"EventData":{"a":1}}"#);
    assert!(!matches(&program("*[EventData[Data[@Name='ProcessID']]]"), &with_data), "there is real event data");
}

#[test]
fn damaged_fields_are_the_same_in_fields_and_tree() {
    for (system, query, expected) in [
        ("<EventID>1<b>2</b></EventID>", "*[System[EventID=1]]", true),
        ("<EventID>1<b>2</b></EventID>", "*[System[EventID=12]]", false),
        ("<EventID>1<b>2</b></EventID>", "*[System[EventID/b]]", false),
        ("<EventID>1</EventID><x:EventID>2</x:EventID>", "*[System[EventID=1]]", true),
        ("<EventID>1</EventID><x:EventID>2</x:EventID>", "*[System[EventID=2]]", false),
        ("<x:EventID>2</x:EventID><EventID>1</EventID>", "*[System[EventID=1]]", true),
        ("<x:EventID>2</x:EventID>", "*[System[EventID=2]]", true),
        ("<EventID>1</EventID><EventID>2</EventID>", "*[System[EventID=2]]", true),
        ("<Channel>Sec<b>x</b>urity</Channel>", "*[System[Channel='Security']]", true),
        ("<Channel>Sec<b>x</b>urity</Channel>", "*[System[Channel='Secxurity']]", false),
        ("<Provider Name='a' Name='b'/>", "*[System[Provider[@Name='a']]]", true),
        ("<Provider Name='a' Name='b'/>", "*[System[Provider[@Name='b']]]", false),
        ("<Provider x:Name='b' Name='a'/>", "*[System[Provider[@Name='a']]]", true),
        ("<Provider x:Name='b' Name='a'/>", "*[System[Provider[@Name='b']]]", false),
        ("<Provider Guid='g' Name='a'/>", "*[System[Provider[@Guid='g' and @Name='a']]]", true),
        (
            "<TimeCreated SystemTime='2024-01-01T00:00:00Z' SystemTime='2025-01-01T00:00:00Z'/>",
            "*[System[TimeCreated[@SystemTime>='2025-01-01T00:00:00Z']]]",
            false,
        ),
    ] {
        let raw = format!("<Event><System>{system}</System></Event>");
        let (event, program) = (xml(&raw), program(query));
        let mut document = Document::default();
        document.read_all(&event);
        assert_eq!(program.plain.holds_of(&document, now()), expected, "{query} of the tree of {raw}");
        assert_eq!(matches(&program, &event), expected, "{query} of {raw}");
    }
}

#[test]
fn parts_of_system_are_found_wherever_an_agent_keeps_them() {
    answer_alike(
        "<Event><System><Provider Name='p' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID Qualifiers='16384'>7036</EventID>\
         <Correlation ActivityID='{a}'/><Execution ProcessID='700' ThreadID='800'/><Security UserID='S-1-5-18'/></System></Event>",
        &[
            r#"{"Id":7036,"Qualifiers":16384,"ProviderName":"p","ProviderId":"54849625-5478-4994-a5ba-3e3b0328c30d","MachineName":"m","ProcessId":700,"ThreadId":800,"UserId":{"Value":"S-1-5-18"},"ActivityId":"{a}"}"#,
            r#"{"EventID":1073748860,"SourceName":"p","ProviderGuid":"{54849625-5478-4994-A5BA-3E3B0328C30D}","ExecutionProcessID":700,"ExecutionThreadID":800,"UserID":"S-1-5-18","ActivityID":"{a}"}"#,
            r#"{"body":{"event_id":{"id":7036,"qualifiers":16384},"provider":{"name":"p","guid":"{54849625-5478-4994-a5ba-3e3b0328c30d}"},"execution":{"process_id":700,"thread_id":800},"security":{"user_id":"S-1-5-18"},"correlation":{"activity_id":"{a}"}}}"#,
            r#"{"body":"<Event><System><Provider Name='p' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID Qualifiers='16384'>7036</EventID><Correlation ActivityID='{a}'/><Execution ProcessID='700' ThreadID='800'/><Security UserID='S-1-5-18'/></System></Event>"}"#,
        ],
        &[
            ("*[System[EventID=7036]]", true),
            ("*[System[EventID=1073748860]]", false),
            ("*[System/EventID/@Qualifiers=16384]", true),
            ("*[System[Provider[@Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}']]]", true),
            ("*[System[Execution[@ProcessID=700 and @ThreadID=800]]]", true),
            ("*[System[Security[@UserID='S-1-5-18']]]", true),
            ("*[System[Correlation[@ActivityID='{a}']]]", true),
            ("*[EventData[Data[@Name='ProcessId']]]", false),
        ],
    );
    // In anybody else's flat record it is the event's own.
    answer_alike(
        "<Event><System><EventID>1</EventID></System><EventData><Data Name='ProcessId'>700</Data></EventData></Event>",
        &[r#"{"EventID":1,"ProcessId":700}"#],
        &[("*[EventData[Data[@Name='ProcessId']=700]]", true), ("*[System[Execution]]", false)],
    );
}

#[test]
fn a_time_that_was_told_as_a_number_is_compared_like_any() {
    answer_alike(
        "<Event><System><TimeCreated RawTime='133594528891234567'/></System></Event>",
        &[
            r##"{"System":{"TimeCreated":{"#attributes":{"RawTime":133594528891234567}}}}"##,
            r#"{"TimeCreated":{"value":"/Date(1714979289123+0200)/"}}"#,
            r#"{"EventTime":"2024-05-06 09:08:09.1234567+02:00"}"#,
        ],
        &[
            ("*[System[TimeCreated[@SystemTime>='2024-05-06T07:08:09.000Z']]]", true),
            ("*[System[TimeCreated[@SystemTime>'2024-05-06T07:08:10.000Z']]]", false),
            ("*[System/TimeCreated/@SystemTime]", true),
        ],
    );
}
