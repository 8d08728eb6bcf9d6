use super::*;

const OPS: [Op; 6] = [Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge];

/// The operators that hold between a node's text and a literal.
fn holding(text: &str, literal: &Literal) -> Vec<Op> {
    OPS.into_iter().filter(|op| literal.compares(text, *op)).collect()
}

const EQUAL: &[Op] = &[Op::Eq, Op::Le, Op::Ge];
const LESS: &[Op] = &[Op::Ne, Op::Lt, Op::Le];
const GREATER: &[Op] = &[Op::Ne, Op::Gt, Op::Ge];
const UNRELATED: &[Op] = &[Op::Ne];
/// Equal by type, and behind it by its letters.
const SAME_BUT_GREATER: &[Op] = &[Op::Eq, Op::Gt, Op::Ge];

#[test]
fn quoted_literals_compare_by_the_type_that_their_spelling_gives() {
    for (text, literal, expected) in [
        ("4688", "4688", EQUAL),
        (" 4688\n", "4688", EQUAL),
        ("500", "0x1f4", EQUAL),
        ("0x1F4", "500", EQUAL),
        ("0xc000006d", "0xC000006D", EQUAL),
        ("18446744073709551615", "0xffffffffffffffff", EQUAL),
        ("9007199254740993", "9007199254740992", GREATER),
        ("-1", "0", LESS),
        ("4624.0", "4624", EQUAL),
        ("3.5", "4", LESS),
        ("10", "9", GREATER),
        ("", "0", UNRELATED),
        ("abc", "0", UNRELATED),
        ("{54849625-5478-4994-A5BA-3E3B0328C30D}", "54849625-5478-4994-a5ba-3e3b0328c30d", SAME_BUT_GREATER),
        ("s-1-5-18", "S-1-5-18", SAME_BUT_GREATER),
        ("2021-01-01T00:00:00.0000000Z", "2021-01-01T00:00:00.000Z", EQUAL),
        ("2021-01-01T00:00:00.0000001Z", "2021-01-01T00:00:00Z", GREATER),
        ("2020-12-31T23:00:00-01:00", "2021-01-01T00:00:00Z", EQUAL),
        ("yesterday", "2021-01-01T00:00:00Z", UNRELATED),
        ("EXE", "EXE", EQUAL),
        ("exe", "EXE", GREATER),
        ("", "", EQUAL),
        ("1e5", "100000", UNRELATED),
        ("inf", "nan", LESS),
    ] {
        assert_eq!(holding(text, &Literal::quoted(literal)), expected, "{text:?} with {literal:?}");
    }
}

#[test]
fn bare_literals_are_numbers_and_order_nothing_else() {
    let limit = Literal::number("10").expect("a number");
    assert_eq!(holding("0xA", &limit), EQUAL);
    assert_eq!(holding("9.99", &limit), LESS);
    assert_eq!(holding("ten", &limit), UNRELATED);
    for text in ["", "x", "1e5", "0x", "0x+1", "0x1ffffffffffffffff", "1.2.3", ".", "inf", "--1", "2024-01-01"] {
        assert_eq!(Literal::number(text), None, "{text:?}");
    }
}

#[test]
fn each_spelling_has_one_reading() {
    for (text, expected) in [
        ("S-1-5-21-1-2-3-500", Reading::Sid),
        ("S-1", Reading::Text),
        ("S-1-x", Reading::Text),
        ("{54849625-5478-4994-A5BA-3E3B0328C30D", Reading::Text),
        ("54849625x5478-4994-A5BA-3E3B0328C30D", Reading::Text),
        ("00000000-0000-0000-0000-00000000001f", Reading::Guid(31)),
        ("+7", Reading::Number(Number::Whole(7))),
        ("0.5", Reading::Number(Number::Fraction(0.5))),
        ("%%1904", Reading::Text),
        ("1601-01-01T00:00:00Z", Reading::Text),
        ("1970-01-01T00:00:01Z", Reading::Time(Timestamp::from_ticks(10_000_000))),
    ] {
        assert_eq!(Literal::quoted(text).reading(), expected, "{text:?}");
    }
}

#[test]
fn computed_values_compare_with_literals_of_their_type_only() {
    let (ten, text) = (Literal::quoted("10"), Literal::quoted("ten"));
    assert!(ten.compares_number(Number::Whole(9), Op::Lt));
    assert!(ten.compares_number(Number::Fraction(10.5), Op::Gt));
    assert!(text.compares_number(Number::Whole(9), Op::Ne) && !text.compares_number(Number::Whole(9), Op::Lt));
    let time = Timestamp::from_ticks(10_000_000);
    assert!(Literal::quoted("1970-01-01T00:00:01Z").compares_time(time, Op::Eq));
    assert!(ten.compares_time(time, Op::Ne) && !ten.compares_time(time, Op::Gt));
}
