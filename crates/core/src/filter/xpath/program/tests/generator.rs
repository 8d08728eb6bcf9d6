//! Random queries and random events from one small vocabulary, so that they meet.

use proptest::prelude::*;
use proptest::sample::select;

use crate::filter::xpath::ast::{Axis, Expr, LocationPath, NodeTest, Op, Operand, Step};
use crate::filter::xpath::literal::Literal;

const VALUES: [&str; 17] = [
    "4624",
    "x",
    "1",
    "2024-01-01T00:00:00Z",
    "2",
    "0x1210",
    " 4624 ",
    "4625.5",
    "X",
    "",
    "a<b",
    "S-1-5-18",
    "s-1-5-18",
    "2024-01-01T00:00:00.000Z",
    "0x8020000000000000",
    "-9214364837600034816",
    "300",
];

const SYSTEM_NAMES: [&str; 9] =
    ["Provider", "EventID", "Level", "TimeCreated", "EventRecordID", "Channel", "Computer", "Task", "Keywords"];

/// Mostly the first ones, so that values are equal often enough.
fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => select(&VALUES[..4]), 1 => select(&VALUES[..])]
}

/// An event in which any part may be missing, empty, repeated or unreadable.
pub(super) fn event() -> impl Strategy<Value = String> {
    let system = proptest::sample::subsequence(&SYSTEM_NAMES[..], 0..=SYSTEM_NAMES.len());
    let system = system
        .prop_flat_map(|names| names.into_iter().map(system_part).collect::<Vec<_>>())
        .prop_map(|parts| format!("<System>{}</System>", parts.concat()));
    let body = proptest::collection::vec(section(), 0..4).prop_map(|sections| sections.concat());
    let missing = prop_oneof![8 => Just(true), 1 => Just(false)];
    (missing, system, body, any::<bool>()).prop_map(|(has_system, system, body, first)| match (has_system, first) {
        (false, _) => format!("<Event xmlns='urn:e'>{body}</Event>"),
        (true, false) => format!("<Event>{body}{system}</Event>"),
        (true, true) => format!("<Event xmlns='urn:e'>{system}{body}</Event>"),
    })
}

fn system_part(name: &'static str) -> BoxedStrategy<String> {
    let attribute = match name {
        "Provider" => "Name",
        "TimeCreated" => "SystemTime",
        _ => "Name2",
    };
    (value(), value(), any::<bool>())
        .prop_map(move |(text, inside, has_attribute)| match (attribute, has_attribute) {
            ("Name2", false) => format!("<{name}>{}</{name}>", escaped(text)),
            ("Name2", true) => format!("<{name} Name2='{}'>{}</{name}>", escaped(inside), escaped(text)),
            (_, true) => format!("<{name} {attribute}='{}'/>", escaped(inside)),
            (_, false) => format!("<{name} Other='{}'/>", escaped(inside)),
        })
        .boxed()
}

fn section() -> impl Strategy<Value = String> {
    let data = prop_oneof![
        4 => (select(&["a", "b", "c"][..]), value()).prop_map(|(n, v)| format!("<Data Name='{n}'>{}</Data>", escaped(v))),
        2 => value().prop_map(|v| format!("<Data>{}</Data>", escaped(v))),
        1 => Just("<Data/>".to_owned()),
        1 => value().prop_map(|v| format!("<Other><Data Name='a'>{}</Data>tail</Other>", escaped(v))),
        1 => Just("<!-- no --> <![CDATA[x]]>".to_owned()),
    ];
    let name = select(&["EventData", "EventData", "UserData"][..]);
    (name, proptest::collection::vec(data, 0..6)).prop_map(|(name, data)| format!("<{name}>{}</{name}>", data.concat()))
}

fn escaped(text: &str) -> String {
    text.replace('<', "&lt;")
}

/// A query as the grammar allows it.
pub(super) fn query() -> impl Strategy<Value = Expr> {
    let inner = prop_oneof![4 => system_query(), 4 => data_query(), 1 => general(2)];
    let event = inner.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Expr::Or),
            proptest::collection::vec(inner, 1..4).prop_map(Expr::And),
        ]
    });
    let whole = prop_oneof![20 => Just("*"), 10 => Just("Event"), 1 => Just("Events")];
    let top = (whole, proptest::collection::vec(event, 0..3), rest()).prop_map(|(name, predicates, rest)| {
        let mut steps = vec![step(Axis::Child, name, predicates)];
        steps.extend(rest);
        steps
    });
    let top = comparison(top.boxed());
    prop_oneof![
        4 => top.clone(),
        1 => proptest::collection::vec(top.clone(), 1..3).prop_map(Expr::And),
        1 => proptest::collection::vec(top, 1..3).prop_map(Expr::Or),
    ]
}

/// What may follow the first step: `*/System/EventID`.
fn rest() -> impl Strategy<Value = Vec<Step>> {
    let names = prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec!["System", "EventID"]),
        1 => Just(vec!["System", "Level"]),
        1 => Just(vec!["System", "*"]),
        1 => Just(vec!["EventData", "Data"]),
        1 => Just(vec!["*", "*"]),
    ];
    names.prop_map(|names| names.into_iter().map(|name| step(Axis::Child, name, Vec::new())).collect())
}

fn system_query() -> BoxedStrategy<Expr> {
    let field =
        select(&["EventID", "EventID", "Level", "Keywords", "EventRecordID", "Channel", "Computer", "Task", "*"][..]);
    let text = comparison(field.prop_map(|name| vec![step(Axis::Child, name, Vec::new())]).boxed());
    let attribute = |element: &'static str, attribute: &'static str| {
        comparison(Just(vec![step(Axis::Attribute, attribute, Vec::new())]).boxed()).prop_map(move |inside| {
            Expr::Holds(Operand::Path(LocationPath { steps: vec![step(Axis::Child, element, vec![inside])] }))
        })
    };
    let slashed =
        comparison(Just(vec![step(Axis::Child, "Provider", vec![]), step(Axis::Attribute, "Name", vec![])]).boxed());
    let part = prop_oneof![
        6 => text,
        2 => attribute("Provider", "Name"),
        2 => attribute("TimeCreated", "SystemTime"),
        1 => attribute("EventID", "Name2"),
        1 => slashed,
        1 => position(),
        1 => general(1),
    ];
    let part = part.prop_recursive(2, 8, 3, |part| {
        prop_oneof![
            proptest::collection::vec(part.clone(), 1..4).prop_map(Expr::Or),
            proptest::collection::vec(part, 1..4).prop_map(Expr::And),
        ]
    });
    comparison_rarely(part.prop_map(|inside| vec![step(Axis::Child, "System", vec![inside])]).boxed()).boxed()
}

fn data_query() -> BoxedStrategy<Expr> {
    let named = comparison(Just(vec![step(Axis::Attribute, "Name", Vec::new())]).boxed());
    let predicate = prop_oneof![4 => named, 2 => position(), 1 => text_test()];
    let data =
        proptest::collection::vec(predicate, 0..3).prop_map(|predicates| vec![step(Axis::Child, "Data", predicates)]);
    let data = comparison(data.boxed());
    let section = select(&["EventData", "EventData", "UserData", "*"][..]);
    (section, proptest::collection::vec(data, 0..3), any::<bool>())
        .prop_map(|(name, predicates, both)| {
            let predicates = if both {
                vec![Expr::And(predicates.clone())].into_iter().filter(|_| !predicates.is_empty()).collect()
            } else {
                predicates
            };
            Expr::Holds(Operand::Path(LocationPath { steps: vec![step(Axis::Child, name, predicates)] }))
        })
        .boxed()
}

/// Any steps with any predicates, to this depth.
fn general(depth: u32) -> BoxedStrategy<Expr> {
    let name = select(&["System", "EventData", "Data", "Other", "EventID", "Name", "*", "text()"][..]);
    let axis = prop_oneof![4 => Just(Axis::Child), 1 => Just(Axis::Attribute)];
    let predicate = if depth == 0 { position() } else { prop_oneof![position(), general(depth - 1)].boxed() };
    let one = (axis, name, proptest::collection::vec(predicate, 0..2));
    let steps = proptest::collection::vec(one, 1..4);
    comparison(
        steps
            .prop_map(|steps| steps.into_iter().map(|(axis, name, inside)| step(axis, name, inside)).collect())
            .boxed(),
    )
}

fn text_test() -> BoxedStrategy<Expr> {
    comparison(Just(vec![step(Axis::Child, "text()", Vec::new())]).boxed())
}

fn position() -> BoxedStrategy<Expr> {
    (op(), 0..4u32)
        .prop_map(|(op, n)| Expr::Compare(Operand::Position, op, Literal::number(&n.to_string()).expect("a number")))
        .boxed()
}

/// The path alone or compared, or in a function.
fn comparison(steps: BoxedStrategy<Vec<Step>>) -> BoxedStrategy<Expr> {
    let operand = (steps, 0..12u8, select(&[1u64, 3, 0x8020_0000_0000_0000][..]), literal());
    (operand, any::<u8>(), op(), literal())
        .prop_map(|((steps, kind, mask, until), compared, op, literal)| {
            let path = LocationPath { steps };
            let operand = match kind {
                0 => Operand::Band(path, mask),
                1 => Operand::TimeDiff(path, None),
                2 => Operand::TimeDiff(path, Some(until)),
                _ => Operand::Path(path),
            };
            if compared % 5 == 0 { Expr::Holds(operand) } else { Expr::Compare(operand, op, literal) }
        })
        .boxed()
}

/// The path alone, and once in a while compared.
fn comparison_rarely(steps: BoxedStrategy<Vec<Step>>) -> impl Strategy<Value = Expr> {
    let alone = steps.clone().prop_map(|steps| Expr::Holds(Operand::Path(LocationPath { steps })));
    prop_oneof![9 => alone, 1 => comparison(steps)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![1 => Just(Op::Eq), 1 => select(&[Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge][..])]
}

fn literal() -> impl Strategy<Value = Literal> {
    (value(), any::<bool>())
        .prop_map(|(text, quoted)| Literal::number(text).filter(|_| !quoted).unwrap_or_else(|| Literal::quoted(text)))
}

fn step(axis: Axis, name: &str, predicates: Vec<Expr>) -> Step {
    let test = match name {
        "*" => NodeTest::Any,
        "text()" => NodeTest::Text,
        name => NodeTest::Name(name.into()),
    };
    Step { axis, test, predicates }
}
