//! Queries that are taken, with the tree that they make, and limits.

use super::super::ast::{Axis, LocationPath, NodeTest, Op, Operand, Step};
use super::super::literal::Literal;
use super::*;

fn read(query: &str) -> Expr {
    xpath(query).unwrap_or_else(|error| panic!("{}", error.pointed(query)))
}

fn number(text: &str) -> Literal {
    Literal::number(text).expect("a number")
}

fn element(name: &str) -> Step {
    let test = if name == "*" { NodeTest::Any } else { NodeTest::Name(name.into()) };
    Step { axis: Axis::Child, test, predicates: vec![] }
}

fn attribute(name: &str) -> Step {
    Step { axis: Axis::Attribute, ..element(name) }
}

fn text() -> Step {
    Step { test: NodeTest::Text, ..element("*") }
}

fn where_(step: Step, predicate: Expr) -> Step {
    let predicates = step.predicates.into_iter().chain([predicate]).collect();
    Step { predicates, ..step }
}

fn path<const N: usize>(steps: [Step; N]) -> LocationPath {
    LocationPath { steps: steps.into() }
}

fn holds<const N: usize>(steps: [Step; N]) -> Expr {
    Expr::Holds(Operand::Path(path(steps)))
}

fn is(step: Step, op: Op, literal: Literal) -> Expr {
    Expr::Compare(Operand::Path(path([step])), op, literal)
}

/// `*[…]`
fn events(predicate: Expr) -> Expr {
    holds([where_(element("*"), predicate)])
}

fn id(number_text: &str) -> Expr {
    is(element("EventID"), Op::Eq, number(number_text))
}

#[test]
fn each_construct_makes_its_tree() {
    let place = |n| Expr::Compare(Operand::Position, Op::Eq, number(n));
    let system_time = || path([attribute("SystemTime")]);
    for (query, tree) in [
        ("*", holds([element("*")])),
        ("Event", holds([element("Event")])),
        ("child::Event", holds([element("Event")])),
        ("*[EventID=1]", events(id("1"))),
        ("*[(EventID=1)]", events(id("1"))),
        ("*[a='x']", events(is(element("a"), Op::Eq, Literal::quoted("x")))),
        ("*[a=\"'\"]", events(is(element("a"), Op::Eq, Literal::quoted("'")))),
        ("*[a='&lt;\\']", events(is(element("a"), Op::Eq, Literal::quoted("&lt;\\")))),
        ("*[a!=-1]", events(is(element("a"), Op::Ne, number("-1")))),
        ("*[a<1.5]", events(is(element("a"), Op::Lt, number("1.5")))),
        ("*[a<=1]", events(is(element("a"), Op::Le, number("1")))),
        ("*[a>1]", events(is(element("a"), Op::Gt, number("1")))),
        ("*[a>=1]", events(is(element("a"), Op::Ge, number("1")))),
        ("*[@Name]", events(holds([attribute("Name")]))),
        ("*[@*]", events(holds([attribute("*")]))),
        ("*[attribute::Name]", events(holds([attribute("Name")]))),
        ("*[@text]", events(holds([attribute("text")]))),
        ("*[a/b]", events(holds([element("a"), element("b")]))),
        ("*/a", holds([element("*"), element("a")])),
        ("*[a/text]", events(holds([element("a"), text()]))),
        ("*[a/text()]", events(holds([element("a"), text()]))),
        ("*[a[2]]", events(holds([where_(element("a"), place("2"))]))),
        ("*[a[position()=2]]", events(holds([where_(element("a"), place("2"))]))),
        ("*[a[b][2]]", events(holds([where_(where_(element("a"), holds([element("b")])), place("2"))]))),
        ("*[band(a, 0xFf)]", events(Expr::Holds(Operand::Band(path([element("a")]), 255)))),
        ("*[BAND (a,18446744073709551615)=1]", {
            events(Expr::Compare(Operand::Band(path([element("a")]), u64::MAX), Op::Eq, number("1")))
        }),
        ("*[timediff(@SystemTime)<=5]", {
            events(Expr::Compare(Operand::TimeDiff(system_time(), None), Op::Le, number("5")))
        }),
        ("*[TimeDiff(@SystemTime, '2025-01-01T00:00:00Z')>0]", {
            let time = Some(Literal::quoted("2025-01-01T00:00:00Z"));
            events(Expr::Compare(Operand::TimeDiff(system_time(), time), Op::Gt, number("0")))
        }),
        ("*[EventID=1 or EventID=2 and EventID=3]", {
            events(Expr::Or(vec![id("1"), Expr::And(vec![id("2"), id("3")])]))
        }),
        ("*[(EventID=1 or EventID=2) and EventID=3]", {
            events(Expr::And(vec![Expr::Or(vec![id("1"), id("2")]), id("3")]))
        }),
        ("*[EventID=1 OR EventID=2 Or EventID=3]", events(Expr::Or(vec![id("1"), id("2"), id("3")]))),
        ("*[a] and (*[b] or *)", {
            let (a, b) = (events(holds([element("a")])), events(holds([element("b")])));
            Expr::And(vec![a, Expr::Or(vec![b, holds([element("*")])])])
        }),
        ("*[and and or]", events(Expr::And(vec![holds([element("and")]), holds([element("or")])]))),
        ("*[order or Andrew]", events(Expr::Or(vec![holds([element("order")]), holds([element("Andrew")])]))),
        ("*[band and position]", events(Expr::And(vec![holds([element("band")]), holds([element("position")])]))),
    ] {
        assert_eq!(xpath(query), Ok(tree), "{query}");
    }
}

/// Queries as people write them, beyond those of the published list.
const VALID: &[&str] = &[
    "*",
    " * ",
    "Event",
    "*[System]",
    "Event[System]",
    "(*)",
    "((*[System/Level=2]))",
    "*/System/EventID=4104",
    "Event/System/Level<=3",
    "*/*",
    "*/@*",
    "*[*/EventID=1]",
    "*[System/*=5]",
    "*[System[EventID=4624]]",
    "*[System[EventID='4624']]",
    "*[System[EventID = 4624]]",
    "*[System[\r\n\t(EventID=4624)\r\n]]",
    "*[System[(EventID=4624)or(EventID=4625)]]",
    "*[System[EventID=4624 OR EventID=4625]]",
    "*[System[EventID=4624 And Level=0]]",
    "*[System[EventID!=4624]]",
    "*[System[EventID>=4624 and EventID<=4634]]",
    "*[System[EventID>4623 and EventID<4635]]",
    "*[System/Task=-1]",
    "*[System/Task=0.5]",
    "*[System[EventID[@Qualifiers=49152]=7036]]",
    "*[System[EventID[@Qualifiers]]]",
    "*[System[Provider[@Name='Service Control Manager']]]",
    "*[System[Provider[@Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}']]]",
    "*[System/Provider/@Name='Microsoft-Windows-Security-Auditing']",
    "*[System/Provider[@EventSourceName]]",
    "*[System[Keywords='0x8020000000000000']]",
    "*[System[band(Keywords,9227875636482146304)]]",
    "*[System[band(Keywords, 0x8010000000000000)]]",
    "*[System[Band(Keywords, 0x10)=16]]",
    "*[System/Execution[@ProcessID=4]]",
    "*[System[Security[@UserID='S-1-5-18']]]",
    "*[System/Security/@UserID]",
    "*[System[Correlation[@ActivityID='{00000000-0000-0000-0000-000000000000}']]]",
    "*[System[Computer='DC1.test.local']]",
    "*[System[Channel='Security']]",
    "*[System[TimeCreated[timediff(@SystemTime) <= 3600000]]]",
    "*[System[TimeCreated[timediff(@SystemTime, '2025-01-01T00:00:00.000Z') >= 0]]]",
    "*[System[TimeCreated[@SystemTime>='2025-01-01T00:00:00.000Z' and @SystemTime<'2025-02-01T00:00:00Z']]]",
    "*[System/TimeCreated/@SystemTime > '2025-01-01']",
    "*[EventData[Data[@Name='LogonType']='3']]",
    "*[EventData[Data[@Name='LogonType']=3]]",
    "*[EventData[Data[@Name=\"TargetUserName\"]!=\"SYSTEM\"]]",
    "*[EventData[Data[@Name='LogonType'] and (Data='3')]]",
    "*[EventData[Data='x' or Data='y']]",
    "*[EventData/Data='%%1937']",
    "*[EventData/Data[1]='x']",
    "*[EventData[Data[position()=1]='x']]",
    "*[EventData[Data[position() <= 3]='x']]",
    "*[EventData[Data[@Name='A'][1]='x']]",
    "*[EventData/Data/text()='x']",
    "*[EventData/Data/text='x']",
    "*[EventData/Data[text()='x']]",
    "*[EventData/Binary]",
    "*[EventData/Data[@*='x']]",
    "*[EventData[Data[@Name='ShareName']='\\\\*\\IPC$']]",
    "*[EventData[Data[@Name='CommandLine']=\"cmd.exe /c 'whoami'\"]]",
    "*[EventData[Data[@Name='Größe']='groß']]",
    "*[EventData[Data='']]",
    "*[UserData/*/Reason='x']",
    "*[UserData[EventXML[Param1='x']]]",
    "*[UserData/Ereignis-Daten_1.x/Größe>5]",
    "*[RenderingInfo/Message]",
    "*[System[Level=1]] or *[System[Level=2]]",
    "*[System[EventID=1]] and *[EventData[Data='x']] and *[EventData[Data='y']]",
    "(*[System[EventID=1]]) or (*[System[EventID=2]] and *[EventData])",
    "child::*[child::System[child::EventID=1]]",
    "*[System[attribute::Name='x']]",
    "band(*/System/Keywords, 0x10)",
    "timediff(*/System/TimeCreated/@SystemTime) < 1000",
];

#[test]
fn what_people_write_is_taken() {
    assert!(VALID.len() >= 60);
    for query in VALID {
        let tree = read(query);
        assert_eq!(xpath(&tree.to_string()), Ok(tree), "{query}");
    }
}

#[test]
fn what_is_a_number_is_for_the_literal_to_say() {
    for text in
        ["0", "-7", "1.5", "0x10", "0xFFFFFFFFFFFFFFFF", "1e5", "1.", "-0x1", "0x", "12abc", "1.2.3", "1-2", "1:2"]
    {
        let expected = Literal::number(text).map(|number| events(is(element("a"), Op::Eq, number)));
        assert_eq!(xpath(&format!("*[a={text}]")).ok(), expected, "{text}");
    }
}

#[test]
fn a_channel_stands_before_the_first_exclamation_mark() {
    for (query, channel, xpath_text) in [
        ("Security!*", "Security", "*"),
        ("  Security ! *  ", "Security", "*"),
        ("Security!*[System[EventID!=4624]]", "Security", "*[System[EventID!=4624]]"),
        ("Microsoft-Windows-AppLocker/EXE and DLL!*[a]", "Microsoft-Windows-AppLocker/EXE and DLL", "*[a]"),
        ("Windows PowerShell!*[a='!']", "Windows PowerShell", "*[a='!']"),
        ("Verwaltung für Geräte!*", "Verwaltung für Geräte", "*"),
    ] {
        let expected = ChannelQuery { channel: channel.into(), expr: read(xpath_text) };
        assert_eq!(channel_query(query), Ok(expected), "{query}");
    }
}

/// The message for a query that is too much, and none for the one that is just not.
fn at_the_limit(taken: &str, refused: &str) -> String {
    read(taken);
    xpath(refused).expect_err("beyond the limit").message
}

#[test]
fn limits_are_exact_and_told() {
    let long = |bytes: usize| format!("*{}", " ".repeat(bytes - 1));
    let message = at_the_limit(&long(MAX_QUERY_BYTES), &long(MAX_QUERY_BYTES + 1));
    assert_eq!(message, "the query has 65537 bytes; at most 65536 are taken: split it");

    let predicates = |depth: usize| format!("*{}a{}", "[a".repeat(depth - 1) + "[", "]".repeat(depth));
    let parentheses = |depth: usize| format!("{}*{}", "(".repeat(depth), ")".repeat(depth));
    for nested in [predicates, parentheses] {
        let message = at_the_limit(&nested(MAX_NESTING), &nested(MAX_NESTING + 1));
        assert_eq!(message, "more than 64 brackets and parentheses stand in one another; nest less");
    }

    let steps = |count: usize| format!("*{}", "/a".repeat(count - 1));
    let message = at_the_limit(&steps(MAX_STEPS), &steps(MAX_STEPS + 1));
    assert_eq!(message, "the path has more than 32 steps; no event is so deep");

    let channel = |bytes: usize| format!("{}!*", "c".repeat(bytes));
    assert!(channel_query(&channel(MAX_CHANNEL_BYTES)).is_ok());
    let message = channel_query(&channel(MAX_CHANNEL_BYTES + 1)).expect_err("too long").message;
    assert_eq!(message, "the channel's name has 257 bytes; at most 256 are taken");
}

#[test]
fn the_longest_queries_are_read_or_refused() {
    let many = |first: &str, part: &str, last: &str| {
        let count = (MAX_QUERY_BYTES - first.len() - last.len()) / part.len();
        format!("{first}{}{last}", part.repeat(count))
    };
    read(&many("*[a=1", " or a=1", "]"));
    read(&many("*[a", "[b]", "]"));
    read(&many("*[a='", "x", "']"));
    for refused in [
        many("*[", "(", ""),
        many("", "*[a] or ", ""),
        many("*[a=", "-", ""),
        many("", "a ", ""),
        many("*[a='", "&", ""),
    ] {
        assert!(xpath(&refused).is_err());
        assert!(channel_query(&refused).is_err());
    }
}
