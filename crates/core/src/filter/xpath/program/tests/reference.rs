//! A second evaluator, as plain as can be: node sets by the rules of XPath 1.0, on a tree that another parser made.
//!
//! It shares nothing with the program but the tree of the query and the comparison with a literal, which has tests of its own.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Token};

use crate::event::Timestamp;
use crate::filter::xpath::ast::{Axis, Expr, LocationPath, NodeTest, Operand, Step};
use crate::filter::xpath::literal::Number;

/// An element, an attribute or a text.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    name: Option<String>,
    value: String,
    attributes: Vec<Node>,
    children: Vec<Node>,
}

/// Reads a well-formed event; the node around it is returned.
pub(super) fn parse(xml: &str) -> Node {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().expect("well-formed") {
            Token::Start(tag) => open.push(element(&tag)),
            Token::Empty(tag) => add(&mut open, element(&tag)),
            Token::End(_) => {
                let closed = open.pop().expect("it was opened");
                add(&mut open, closed);
            }
            Token::Text(text) => add_text(&mut open, &text),
            Token::GeneralRef(entity) => {
                let escaped = format!("&{};", &*entity);
                add_text(&mut open, &quick_xml::escape::unescape(&escaped).expect("a known entity"));
            }
            Token::CData(text) => add_text(&mut open, &text),
            Token::Eof => return open.pop().expect("the root stays"),
            _ => {}
        }
    }
}

fn element(tag: &BytesStart<'_>) -> Node {
    let attributes = tag.attributes().map(|attribute| attribute.expect("well-formed")).map(|attribute| {
        let value = quick_xml::escape::unescape(&attribute.value).expect("known entities").into_owned();
        Node { name: Some(attribute.key.as_ref().to_owned()), value, ..Node::default() }
    });
    let attributes = attributes.filter(|attribute| attribute.name.as_deref() != Some("xmlns")).collect();
    Node { name: Some(tag.name().as_ref().to_owned()), attributes, ..Node::default() }
}

fn add(open: &mut [Node], node: Node) {
    let parent = open.last_mut().expect("the root stays");
    parent.value.push_str(&node.value);
    parent.children.push(node);
}

fn add_text(open: &mut [Node], text: &str) {
    let parent = open.last_mut().expect("the root stays");
    parent.value.push_str(text);
    match parent.children.last_mut() {
        Some(last) if last.name.is_none() => last.value.push_str(text),
        _ => parent.children.push(Node { value: text.to_owned(), ..Node::default() }),
    }
}

/// Whether an expression holds of a node that is the how many-th of its step.
pub(super) fn holds(expr: &Expr, node: &Node, position: usize, now: Timestamp) -> bool {
    match expr {
        Expr::Or(terms) => terms.iter().any(|term| holds(term, node, position, now)),
        Expr::And(terms) => terms.iter().all(|term| holds(term, node, position, now)),
        Expr::Holds(Operand::Position) => true,
        Expr::Compare(Operand::Position, op, literal) => literal.compares_number(Number::Whole(position as i128), *op),
        Expr::Holds(Operand::Path(path)) => !select(path, node, now).is_empty(),
        Expr::Compare(Operand::Path(path), op, literal) => {
            select(path, node, now).iter().any(|found| literal.compares(&found.value, *op))
        }
        Expr::Holds(operand) => {
            numbers(operand, node, now).iter().any(|number| !matches!(number, Number::Whole(0) | Number::Fraction(0.0)))
        }
        Expr::Compare(operand, op, literal) => {
            numbers(operand, node, now).iter().any(|number| literal.compares_number(*number, *op))
        }
    }
}

/// The numbers that `band` or `timediff` make of the nodes of their path.
fn numbers(operand: &Operand, node: &Node, now: Timestamp) -> Vec<Number> {
    match operand {
        Operand::Band(path, mask) => {
            let bits = |found: &Node| match Number::parse(&found.value)? {
                Number::Whole(whole) if (-(1 << 63)..1 << 64).contains(&whole) => Some(whole as u64),
                _ => None,
            };
            let found = select(path, node, now);
            found.iter().filter_map(|found| bits(found)).map(|bits| Number::Whole((bits & mask).into())).collect()
        }
        Operand::TimeDiff(path, until) => {
            let until = match until {
                Some(literal) => Timestamp::parse(&literal.text),
                None => Some(now),
            };
            let Some(until) = until else { return Vec::new() };
            let found = select(path, node, now);
            let ticks = found.iter().filter_map(|found| Some(until.ticks() - Timestamp::parse(&found.value)?.ticks()));
            ticks.map(|ticks| Number::Fraction(ticks as f64 / 10_000.0)).collect()
        }
        Operand::Path(_) | Operand::Position => Vec::new(),
    }
}

fn select<'n>(path: &LocationPath, from: &'n Node, now: Timestamp) -> Vec<&'n Node> {
    path.steps
        .iter()
        .fold(vec![from], |nodes, step| nodes.into_iter().flat_map(|node| select_step(step, node, now)).collect())
}

fn select_step<'n>(step: &Step, from: &'n Node, now: Timestamp) -> Vec<&'n Node> {
    let axis = match step.axis {
        Axis::Child => &from.children,
        Axis::Attribute => &from.attributes,
    };
    let tested = axis.iter().filter(|node| match &step.test {
        NodeTest::Name(name) => node.name.as_deref() == Some(name),
        NodeTest::Any => node.name.is_some(),
        NodeTest::Text => node.name.is_none(),
    });
    step.predicates.iter().fold(tested.collect(), |nodes: Vec<&Node>, predicate| {
        let numbered = nodes.into_iter().zip(1..);
        numbered.filter(|(node, position)| holds(predicate, node, *position, now)).map(|(node, _)| node).collect()
    })
}
