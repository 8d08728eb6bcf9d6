//! What is warned of, with which words, and what is not.

use super::*;
use crate::filter::xpath::xpath;

fn warnings(channel: Option<&str>, query: &str) -> Vec<String> {
    let expr = xpath(query).unwrap_or_else(|error| panic!("{}", error.pointed(query)));
    lint(channel, &expr).into_iter().map(|warning| warning.message).collect()
}

#[test]
fn sound_queries_draw_no_warning() {
    for query in [
        "*",
        "Event[System/EventID='999']",
        "*[System[Provider[@Name='x' or @Guid='y' or @EventSourceName='z'] and (Level=1 or Level=2)]]",
        "*[System[EventID[@Qualifiers=1]=2 and Version=1 and Task=1 and Opcode=1 and EventRecordID=1]]",
        "*[System[band(Keywords, 0x10) and TimeCreated[timediff(@SystemTime) < 5 and @RawTime] and Channel and Computer]]",
        "*[System[Correlation[@ActivityID and @RelatedActivityID] and Security/@UserID]]",
        "*[System/Execution[@ProcessID=1 and @ThreadID=1 and @ProcessorID=1 and @SessionID=1 and @UserTime=1]]",
        "*[System/*/@Name='x' and System/*='x']",
        "*[EventData[Data[@Name='a']='b' and Data[2]='c' and Data[position()<3] and Binary and ComplexData and param1]]",
        "*[EventData[@Name='x']/Data/text()='x']",
        "*[UserData/*/system/@name='x' and UserData[data[Eventid=1]]]",
        "*[RenderingInfo/Message='x' and RenderingInfo/@Culture and DebugData and ProcessingErrorData and BinaryEventData]",
        "*[*/Nothing[@x]]",
    ] {
        assert_eq!(warnings(Some("Security"), query), [""; 0], "{query}");
        assert_eq!(warnings(None, query), [""; 0], "{query}");
    }
}

#[test]
fn names_that_never_match_are_told_with_the_right_ones() {
    for (query, expected) in [
        ("*[system[EventID=1]]", "`system` never matches, as names are case-sensitive; write `System`"),
        ("*[eventdata/Data]", "`eventdata` never matches, as names are case-sensitive; write `EventData`"),
        ("*/USERDATA/x", "`USERDATA` never matches, as names are case-sensitive; write `UserData`"),
        ("*[System[EventId=1]]", "`EventId` never matches, as names are case-sensitive; write `EventID`"),
        ("*[System/eventid=1]", "`eventid` never matches, as names are case-sensitive; write `EventID`"),
        ("*[System/Provider[@name='x']]", "`@name` never matches, as names are case-sensitive; write `@Name`"),
        ("*[System/TimeCreated[timediff(@systemTime)<5]]", "write `@SystemTime`"),
        ("*[System[band(keywords, 16)]]", "`keywords` never matches, as names are case-sensitive; write `Keywords`"),
        ("*[EventData[Data[@name='x']]]", "`@name` never matches, as names are case-sensitive; write `@Name`"),
        ("*[EventData[data='x']]", "`data` never matches, as names are case-sensitive; write `Data`"),
        (
            "*[Application[Provider[@Name='x']]]",
            "`Application` never matches here: an event holds only System, EventData,",
        ),
        ("*[EventID=1]", "`EventID` never matches here: write `System/EventID`"),
        ("*[Data='x']", "`Data` never matches here: write `EventData/Data`"),
        ("*[@Name]", "`@Name` never matches here: the event and its System have no attributes"),
        ("*[System[param2='x']]", "`param2` never matches here: `System` holds only Provider, EventID,"),
        ("*[System[Data='x']]", "`Data` never matches here: `System` holds none; write it below `EventData`"),
        ("*[System[@Level=1]]", "`@Level` never matches here: the event and its System have no attributes"),
        (
            "*[System/Provider[@Version]]",
            "`@Version` never matches here: `Provider` has only @Name, @Guid, @EventSourceName",
        ),
        ("*[System/Level[@Name]]", "`@Name` never matches here: `Level` has no attributes"),
        ("*[System/Provider/Name='x']", "`Name` never matches here: `Provider` holds no elements"),
        ("*[EventData/Data/@Name/x]", "`x` never matches here: nothing is inside an attribute or a text"),
    ] {
        let [warning] = &warnings(None, query)[..] else { panic!("one warning: {query}: {:?}", warnings(None, query)) };
        assert!(warning.contains(expected), "{query}\n{warning}\nlacks: {expected}");
    }
}

#[test]
fn conditions_that_exclude_each_other_or_cover_everything_are_told() {
    for (query, expected) in [
        (
            "*[System[EventID=1 and EventID=2]]",
            "`EventID=1 and EventID=2` is never true, because there is one `EventID`; write `or`",
        ),
        ("*[System[EventID!=1 or EventID!=2]]", "`EventID!=1 or EventID!=2` is always true"),
        ("*[System/EventID=1 and System/EventID=2]", "`System/EventID=1 and System/EventID=2` is never true"),
        ("*[System[Provider[@Name='a' and @Name='b']]]", "never true, because there is one `@Name`"),
        ("*[EventData[Data[@Name='a' and @Name='b']='c']]", "never true, because there is one `@Name`"),
        ("*[System[Level<2 and Channel='x' and Level>=3]]", "`Level < 2 and Level >= 3` is never true"),
        ("*[System[Level>=3 and Level<3]]", "is never true"),
        ("*[System[Level<=3 or Level>2]]", "is always true"),
        ("*[System[Level=4 and Level<4]]", "is never true"),
        (
            "*[System[TimeCreated[@SystemTime<'2024-01-01T00:00:00Z' and @SystemTime>'2025-01-01T00:00:00Z']]]",
            "is never true",
        ),
        ("*[System[band(Keywords,0)]]", "`band(Keywords, 0x0)` is never true: no bit is asked for"),
        (
            "*[System[EventID=1073748860]]",
            "an event's id has 16 bits: this is the id with its qualifiers; write `EventID=7036`",
        ),
        ("*[System[EventID=-1073734824]]", "write `EventID=7000`"),
        (
            "*[System/EventID=4294967296]",
            "`System/EventID=4294967296` never matches, because an event's id has 16 bits",
        ),
    ] {
        let [warning] = &warnings(None, query)[..] else { panic!("one warning: {query}: {:?}", warnings(None, query)) };
        assert!(warning.contains(expected), "{query}\n{warning}\nlacks: {expected}");
    }
    for query in [
        "*[System[EventID=1 or EventID=2]]",
        "*[System[EventID!=1 and EventID!=2]]",
        "*[System[Level>=3 and Level<=3]]",
        "*[System[Level<3 or Level>3]]",
        "*[System[EventID=1 and EventID='1']]",
        "*[System[Level=4 or Level=0] and System[Level=2]]",
        "*[EventData/Data='a' and EventData/Data='b']",
        "*[EventData[Data/@Name='a' and Data/@Name='b']]",
        "*[EventData[Data[@Name='x']!='a' or Data[@Name='x']!='b']]",
        "*[System/*='a' and System/*='b']",
        "*[System[EventID=65535 and EventID!=70000]]",
    ] {
        assert_eq!(warnings(None, query), [""; 0], "{query}");
    }
}

#[test]
fn the_same_slip_is_told_once_and_different_ones_each() {
    assert_eq!(warnings(None, "*[system[EventID=1]] or *[system[EventID=2]]").len(), 1);
    assert_eq!(warnings(None, "*[system[eventid=1]] or *[eventData]").len(), 3);
}

#[test]
fn positions_belong_to_elements_that_hold_no_others() {
    for query in [
        "*[1]",
        "*[System[1]/EventID=1]",
        "*[EventData[position()=1]]",
        "*[EventData/*[2]/x]",
        "*[UserData[a or position()=2]]",
    ] {
        let found = warnings(None, query);
        assert!(
            found.len() == 1 && found[0].contains("counts only elements that hold no others"),
            "{query}: {found:?}"
        );
    }
}

/// A query with so many expressions.
fn sized(count: usize) -> String {
    let terms: Vec<String> = (1..=count).map(|id| format!("EventID={id}")).collect();
    format!("*[System[{}]]", terms.join(" or "))
}

#[test]
fn one_warning_names_every_limit_that_is_passed() {
    for (count, limits) in [(20, 0), (21, 1), (22, 1), (23, 2), (32, 2), (33, 3)] {
        let found = warnings(None, &sized(count));
        assert_eq!(found.len(), usize::from(limits > 0), "{count}: {found:?}");
        let told = found.first().map_or(0, |message| {
            assert!(
                message.starts_with(&format!("the query has {count} expressions; 20 are the most for")),
                "{message}"
            );
            message.matches("the most for").count()
        });
        assert_eq!(told, limits, "{count}");
    }
}

#[test]
fn comparisons_and_functions_are_counted_and_paths_are_not() {
    for (query, count) in [
        ("*", 0),
        ("*[System]", 0),
        ("*[System[EventID=1]]", 1),
        ("*[System/EventID=1] and *[EventData/Data]", 1),
        ("*[System[Provider[@Name='x' or @Name='y'] and (Level=1)]]", 3),
        ("*[System[band(Keywords, 1) and band(Keywords, 2)=2]]", 2),
        ("*[System/TimeCreated[timediff(@SystemTime) < 1]]", 1),
        ("*[EventData[Data[@Name='x']='y' and Data[1]='z']]", 4),
    ] {
        assert_eq!(expressions(&xpath(query).expect("a query")), count, "{query}");
    }
}

#[test]
fn channels_that_cannot_be_subscribed_to_are_told() {
    for (channel, warned) in [
        ("Security", false),
        ("Microsoft-Windows-Sysmon/Operational", false),
        ("Debug", false),
        ("Microsoft-Windows-DNSServer/Analytical", true),
        ("Microsoft-Windows-WMI-Activity/Debug", true),
        ("microsoft-windows-kernel-process/ANALYTIC", true),
    ] {
        let found = warnings(Some(channel), "*");
        assert_eq!(found.len(), usize::from(warned), "{channel}: {found:?}");
        assert!(found.iter().all(|message| message.contains("error 15009")), "{found:?}");
    }
}
