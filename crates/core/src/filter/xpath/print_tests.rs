//! What is printed reads back as the same tree.

use proptest::prelude::*;

use super::*;
use crate::filter::xpath::xpath;

#[test]
fn a_query_is_printed_as_people_write_it() {
    for (written, printed) in [
        ("*", "*"),
        (" ( * ) ", "*"),
        ("*[System[(EventID = 4624)]]", "*[System[EventID=4624]]"),
        ("*[System[Level=1 or Level=2 and Task=3]]", "*[System[Level=1 or Level=2 and Task=3]]"),
        ("*[System[(Level=1 OR Level=2) AND (Task=3)]]", "*[System[(Level=1 or Level=2) and Task=3]]"),
        ("*[System[Level=1 or (Level=2 or Level=3)]]", "*[System[Level=1 or (Level=2 or Level=3)]]"),
        ("*[System[Level=1 and (Level=2 and Level=3)]]", "*[System[Level=1 and (Level=2 and Level=3)]]"),
        ("*[EventData[Data[2]=\"it's\"]]", "*[EventData[Data[2]=\"it's\"]]"),
        ("*[EventData[Data[position()=2 or position()=0]]]", "*[EventData[Data[position()=2 or position()=0]]]"),
        ("*[EventData[Data=\"a\"]]", "*[EventData[Data='a']]"),
        ("*[EventData/Data/text()='a']", "*[EventData/Data/text()='a']"),
        ("*[System[Band(Keywords,16)]]", "*[System[band(Keywords, 0x10)]]"),
        ("*[System/TimeCreated[timediff(@SystemTime)<=5]]", "*[System/TimeCreated[timediff(@SystemTime) <= 5]]"),
        ("*[x[timediff(@t,'2025') > 0]]", "*[x[timediff(@t, '2025') > 0]]"),
        ("child::Event[attribute::Name]", "Event[@Name]"),
    ] {
        let tree = xpath(written).unwrap_or_else(|error| panic!("{}", error.pointed(written)));
        assert_eq!(tree.to_string(), printed, "{written}");
        assert_eq!(xpath(printed), Ok(tree), "{written}");
    }
}

fn name() -> impl Strategy<Value = Box<str>> {
    let chosen =
        ["System", "EventID", "Data", "and", "OR", "order", "Andrew", "band", "position", "Event", "Größe", "a-b.c"];
    prop_oneof![
        proptest::sample::select(chosen.to_vec()).prop_map(Box::from),
        "[A-Za-z_][A-Za-z0-9_.-]{0,8}".prop_map(Box::from)
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    let number = |text: String| Literal::number(&text).expect("a decimal number");
    prop_oneof![
        "[^'\"]{0,10}".prop_map(|text| Literal::quoted(&text)),
        "[^\"]{0,10}".prop_map(|text| Literal::quoted(&text)),
        "[^']{0,10}".prop_map(|text| Literal::quoted(&text)),
        "-?[0-9]{1,9}([.][0-9]{1,3})?".prop_map(number),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    proptest::sample::select(vec![Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge])
}

/// A step, but for its predicates.
fn bare_step() -> impl Strategy<Value = Step> {
    let step = |axis, test| Step { axis, test, predicates: Vec::new() };
    prop_oneof![
        4 => name().prop_filter("`text` is no name", |name| &**name != "text")
            .prop_map(move |name| step(Axis::Child, NodeTest::Name(name))),
        2 => name().prop_map(move |name| step(Axis::Attribute, NodeTest::Name(name))),
        1 => Just(step(Axis::Child, NodeTest::Any)),
        1 => Just(step(Axis::Attribute, NodeTest::Any)),
        1 => Just(step(Axis::Child, NodeTest::Text)),
    ]
}

fn path(predicate: BoxedStrategy<Expr>) -> impl Strategy<Value = LocationPath> {
    let step = (bare_step(), proptest::collection::vec(predicate, 0..3))
        .prop_map(|(step, predicates)| Step { predicates, ..step });
    proptest::collection::vec(step, 1..4).prop_map(|steps| LocationPath { steps })
}

/// A condition on what `path` makes.
fn term(path: BoxedStrategy<LocationPath>) -> BoxedStrategy<Expr> {
    let time = proptest::option::of("[^']{0,10}".prop_map(|text| Literal::quoted(&text)));
    let difference = (path.clone(), time).prop_map(|(path, time)| Operand::TimeDiff(path, time));
    let band = (path.clone(), any::<u64>()).prop_map(|(path, mask)| Operand::Band(path, mask));
    let truth = prop_oneof![path.prop_map(Operand::Path), band];
    let number = prop_oneof![truth.clone(), difference, Just(Operand::Position)];
    prop_oneof![truth.prop_map(Expr::Holds), (number, op(), literal()).prop_map(|(a, op, b)| Expr::Compare(a, op, b))]
        .boxed()
}

fn predicate() -> BoxedStrategy<Expr> {
    let bare = bare_step().prop_map(|step| LocationPath { steps: vec![step] }).boxed();
    term(bare)
        .prop_recursive(4, 40, 3, |inner| {
            let several = || proptest::collection::vec(inner.clone(), 2..4);
            prop_oneof![several().prop_map(Expr::Or), several().prop_map(Expr::And), term(path(inner.clone()).boxed())]
        })
        .boxed()
}

/// A whole query: at its top stand paths that begin at the event.
fn query() -> impl Strategy<Value = Expr> {
    let events = (any::<bool>(), path(predicate()))
        .prop_map(|(star, mut path)| {
            let test = if star { NodeTest::Any } else { NodeTest::Name("Event".into()) };
            path.steps[0] = Step { axis: Axis::Child, test, ..path.steps[0].clone() };
            path
        })
        .boxed();
    let term = prop_oneof![
        events.clone().prop_map(|path| Expr::Holds(Operand::Path(path))),
        (events.clone(), op(), literal()).prop_map(|(path, op, literal)| Expr::Compare(
            Operand::Path(path),
            op,
            literal
        )),
        (events, any::<u64>()).prop_map(|(path, mask)| Expr::Holds(Operand::Band(path, mask))),
    ];
    term.prop_recursive(2, 4, 2, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..3);
        prop_oneof![several().prop_map(Expr::Or), several().prop_map(Expr::And)]
    })
}

proptest! {
    #[test]
    fn a_printed_tree_reads_back_as_itself(tree in query()) {
        let printed = tree.to_string();
        let read = xpath(&printed).map_err(|error| TestCaseError::fail(error.pointed(&printed)))?;
        prop_assert_eq!(&read, &tree, "{}", printed);
        prop_assert_eq!(read.to_string(), printed);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_it(text in "[ -~é‘\t\n]{0,40}|[*a-cE=!<>'\"\\[\\]()@/,0-9 .-]{0,40}") {
        if let Err(error) = xpath(&text) {
            prop_assert!(error.offset <= text.len() && text.is_char_boundary(error.offset), "{:?}", error);
            prop_assert!(error.pointed(&text).starts_with(&error.message));
        }
    }
}
