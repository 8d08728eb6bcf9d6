//! Queries that are refused: where, and with which words. `▸` stands before the place that the error names.

use super::*;

/// Reads every marked query and compares where and how it is refused.
fn check<T: std::fmt::Debug>(table: &[(&str, &str)], read: fn(&str) -> Result<T, QueryError>) {
    let mut surprises = String::new();
    for (marked, part) in table {
        let (before, after) = marked.split_once('▸').expect("a mark");
        let query = format!("{before}{after}");
        match read(&query) {
            Err(error) if error.offset == before.len() && error.message.contains(part) => {}
            Err(error) => surprises.push_str(&format!("\n{marked}: {part}?\n{}\n", error.pointed(&query))),
            Ok(tree) => surprises.push_str(&format!("\n{marked}: {part}? It was taken: {tree:?}\n")),
        }
    }
    assert!(surprises.is_empty(), "{surprises}");
}

const INVALID: &[(&str, &str)] = &[
    // Nothing, or nothing of an event.
    ("▸", "the query is empty; write `*`"),
    ("▸  \t", "the query is empty"),
    ("▸System/EventID=1", "selects no events; begin with `*[…]`"),
    ("▸System[EventID=1]", "selects no events; begin with `*[…]`"),
    ("▸EventID=1", "selects no events; begin with `*[…]`"),
    ("▸@Name", "selects no events; begin with"),
    ("▸event[System]", "case-sensitive: write `Event`"),
    ("*[a] and ▸System/EventID=1", "selects no events"),
    ("▸[System[EventID=1]]", "the event is missing before the bracket: write `*[…]`"),
    ("*[a] or ▸[System[EventID=1]]", "the event is missing before the bracket"),
    ("*▸EventData[Data='x']", "`*` is the event; what it must hold stands in brackets behind it"),
    ("*▸System[EventID=1]", "such as `*[EventData[…]]`"),
    ("▸position()=1", "write it in brackets behind one"),
    ("band(▸Keywords, 1)", "selects no events"),
    ("▸4624", "a constant cannot stand on the left"),
    // Channels where none is asked for, or half of one.
    ("▸Security!*[System[EventID=1]]", "leave the channel `Security!` away"),
    ("▸Windows PowerShell!*", "leave the channel `Windows PowerShell!` away"),
    ("▸Security*[System[EventID=1]]", "if `Security` is a channel, write `!` behind it: `Security!*[…]`"),
    // Paths of full XPath.
    ("▸/Event", "does not begin with `/`"),
    ("▸//Event", "`//` is not in the language"),
    ("*/▸/Data", "`//` is not in the language"),
    ("*[▸/Event]", "does not begin with `/`"),
    ("*[System/▸]", "expected a name or `*`, found `]`"),
    ("*/▸", "expected a name or `*`, found the end of the query"),
    ("*[@▸]", "expected a name or `*`, found `]`"),
    ("*[@▸1]", "expected a name or `*`, found `1`"),
    ("*[Data[▸.='x']]", "`.` is not in the language; name the element itself"),
    ("*[System/▸..]", "paths only go down"),
    ("*[▸parent::Event]", "there is no axis `parent`"),
    ("*[▸descendant-or-self::Data]", "there is no axis `descendant-or-self`"),
    ("*[▸ev:System]", "write the local name, `System`, without `ev:`"),
    ("*[@▸xml:lang]", "write the local name, `lang`"),
    ("*[a▸|b]", "`|` joins no paths"),
    ("*[a=▸$x]", "there are no variables"),
    ("*[▸node()]", "`node()` does not exist"),
    ("*[a/▸last()]", "`last()` does not exist"),
    // Functions.
    ("*[▸contains(Data,'x')]", "parts of a text cannot be searched"),
    ("*[▸starts-with(Data,'x')]", "know only the functions position, band and timediff; parts of a text"),
    ("*[System[▸not(EventID=1)]]", "write `!=`"),
    ("*[EventData/Data[▸last()]]", "positions are counted from the front: `Data[1]`"),
    ("*[▸count(EventData/Data)>1]", "to ask whether an element exists"),
    ("*[▸local-name()='x']", "write the element's name as a step"),
    ("*[▸string(a)='x']", "compare the path itself"),
    ("*[▸EventID(1)]", "`EventID()` does not exist"),
    ("*[a=▸position()]", "write the function on the left"),
    ("*[a=▸concat('x')]", "know only the functions"),
    ("*[Data[▸position()]]", "compare it, such as `Data[position()=1]`"),
    ("*[Data[position(▸1)=1]]", "expected `and`, `or` or `)`"),
    ("*[▸timediff(@SystemTime)]", "compare them"),
    ("*[timediff(@SystemTime, ▸@Other)>1]", "expected a time in quotes, found `@`"),
    ("*[timediff(@SystemTime, ▸5)>1]", "expected a time in quotes, found `5`"),
    ("*[timediff(▸'2025-01-01', @SystemTime)>1]", "a constant cannot stand on the left"),
    ("*[band(Keywords▸)]", "expected `,` and a mask, found `)`"),
    ("*[band(Keywords, ▸'16')]", "expected a mask without quotes, found '16'"),
    ("*[band(Keywords, ▸-1)]", "`-1` is no mask of 64 bits"),
    ("*[band(Keywords, ▸0x10000000000000000)]", "is no mask of 64 bits"),
    ("*[band(Keywords, ▸0x)]", "is no mask of 64 bits"),
    ("*[band(Keywords, 1▸, 2)]", "expected `and`, `or` or `)`, found `,`"),
    ("*[band(▸band(Keywords, 1), 1)]", "about a path, not about another function"),
    ("*[band(▸)]", "expected a path such as"),
    // Positions.
    ("*[Data[▸0]]", "`[0]` is no position; they are whole numbers and count from 1"),
    ("*[Data[▸-1]]", "`[-1]` is no position"),
    ("*[Data[▸1.5]]", "`[1.5]` is no position"),
    ("*[Data[▸0x1]]", "`[0x1]` is no position"),
    // Comparisons.
    ("*[System[(EventID=▸)]]", "expected a value to compare with, found `)`; write the value, such as `EventID=4624`"),
    ("*[EventID=▸]", "found `]`; write the value"),
    ("*[EventID=▸", "found the end of the query"),
    ("*[System[EventID= ▸or EventID=2]]", "expected a value to compare with, found `or`"),
    ("*[System[▸4624=EventID]]", "write `EventID=4624`"),
    ("*[System[▸3<=Level]]", "write `Level>=3`"),
    ("*[System[▸'x'=Channel]]", "write `Channel='x'`"),
    ("*[Data[▸'x']]", "a constant cannot stand on the left of a comparison (or alone)"),
    ("*[System[Level=▸Task]]", "put text in quotes: 'Task'"),
    ("*[System[Level=▸Task/x]]", "on the right of a comparison stands a constant, not a path"),
    ("*[System[Level=▸@x]]", "on the right of a comparison stands a constant, not a path"),
    ("*[System[Level=▸(1)]]", "on the right of a comparison stands a constant"),
    ("*[Computer=▸DC1]", "put text in quotes: 'DC1'"),
    ("*[t>▸2025-01-01T00:00:00Z]", "`2025-01-01T00:00:00Z` is no number"),
    ("*[a=▸4624x]", "`4624x` is no number; numbers are decimal or 0x…"),
    ("*[EventID=1▸=2]", "expected `and`, `or` or `]`, found `=`; compare one path or function with one constant"),
    ("*[(EventID)▸=1]", "compare one path or function"),
    ("*[EventID▸==1]", "write `=`, not `==`"),
    ("*[EventID▸<>1]", "write `!=`, not `<>`"),
    ("*[EventID▸=<1]", "write `<=`, not `=<`"),
    ("*[EventID▸=>1]", "write `>=`, not `=>`"),
    ("*[EventID< ▸=1]", "write operators without a space inside"),
    ("*[▸!EventID]", "`!` alone is no operator"),
    ("*[EventID▸~1]", "there is no such operator"),
    ("*[EventID ▸eq 1]", "the operators are `=`"),
    ("*[EventID ▸in (1, 2)]", "the operators are `=`"),
    ("*[EventID▸≤5]", "write `<=`, `>=` or `!=`"),
    ("*[EventID ▸&lt;= 5]", "write `<`, not `&lt;`"),
    ("*[EventID ▸&gt; 5]", "write `>`, not `&gt;`"),
    ("*[a ▸&amp;&amp; b]", "write `and`, not `&amp;`"),
    // Arithmetic.
    ("*[EventID▸+1=2]", "do not calculate"),
    ("*[EventID ▸- 1=2]", "do not calculate"),
    ("*[EventID ▸-1=2]", "do not calculate"),
    ("*[EventID▸*2=2]", "do not calculate"),
    ("*[EventID ▸mod 2=1]", "do not calculate"),
    ("*[▸-EventID=1]", "do not calculate"),
    // Joining.
    ("*[a ▸&& b]", "write `and`, not `&&`"),
    ("*[a ▸|| b]", "write `or`, not `||`"),
    ("*[a ▸b]", "an operator is missing before it"),
    ("*[a▸, b]", "join conditions with `and` or `or`"),
    ("* ▸*", "do not calculate"),
    ("*[a and▸]", "expected a path such as `EventID` or `@Name`, or a function, found `]`"),
    ("*[▸and a]", "an operand is missing before `and`"),
    ("*[▸or (a)]", "an operand is missing before it"),
    ("*[a or ▸or (b)]", "an operand is missing before it"),
    // Brackets and quotes.
    ("*[▸]", "expected a path such as"),
    ("*[(▸)]", "expected a path such as"),
    (
        "*[System[EventID=1▸",
        "expected `and`, `or` or `]`, found the end of the query; the `[` at character 9 is not closed",
    ),
    ("*[(EventID=1▸]", "found `]`; the `(` at character 3 is not closed"),
    ("(*▸", "the `(` at character 1 is not closed"),
    ("*[Größe[a=1▸)]", "the `[` at character 8 is not closed"),
    ("*[a]▸]", "expected `and`, `or` or the end of the query, found `]`; nothing is open here: remove it"),
    ("▸)", "`)` closes nothing"),
    ("*[(a)▸[1]]", "brackets stand directly behind a step"),
    ("(*)▸/a", "a path goes on only behind a name"),
    ("*[a=▸'x]", "this quote is not closed; another ' was expected"),
    ("*[a=▸\"x']", "this quote is not closed; another \" was expected"),
    ("*[a=▸‘x’]", "write straight quotes"),
    ("*[a=▸“x”]", "write straight quotes"),
    ("*[a=▸`x`]", "write straight quotes"),
    // What editors leave behind.
    ("*[a▸\u{a0}= 1]", "U+00A0; this is no plain space"),
    ("▸\u{feff}*", "U+FEFF; remove this character"),
    ("*[a=▸–1]", "write the plain hyphen"),
    ("*[a▸;]", "no word of a query begins so"),
    ("*[a▸\0]", "unexpected character U+0000"),
    ("*[a=▸\\\\host]", "put text in quotes"),
];

#[test]
fn every_mistake_is_placed_and_explained() {
    assert!(INVALID.len() >= 60);
    check(INVALID, xpath);
}

#[test]
fn a_mistake_in_a_query_for_a_channel_counts_from_its_start() {
    let table = [
        ("▸", "the query is empty; write a channel, `!` and an XPath"),
        ("  ▸", "the query is empty; write a channel"),
        ("▸!*", "the channel's name is empty"),
        ("  ▸!*", "the channel's name is empty"),
        ("▸Secu\u{7}rity!*", "control character U+0007"),
        ("Security!▸", "the XPath is missing behind the channel; `Security!*` takes every event of it"),
        ("Security!▸ ", "`Security!*` takes every event"),
        ("Security!▸[System[EventID=1]]", "the event is missing before the bracket"),
        ("Security!*[System[(EventID=▸) or (EventID=4688)]]", "write the value, such as `EventID=4624`"),
        ("Größe!*[System[EventID=1▸", "the `[` at character 15 is not closed"),
        ("Security!▸System/EventID=1", "selects no events"),
        ("▸*[System[EventID=1]]", "the channel is missing: this is an XPath alone"),
        ("  ▸*[System[EventID=1]]", "such as `Security!*[System[EventID=4624]]`"),
        ("▸*[System[EventID!=1]]", "the channel is missing: this is an XPath alone"),
        ("▸Event[System]", "the channel is missing"),
        ("▸(*[a])", "the channel is missing"),
        ("▸//Event", "the channel is missing"),
        ("▸Security", "such as `Security!*[System[EventID=4624]]`"),
        (
            "▸Application*[System[EventID!=1]]",
            "`!` is missing between the channel and the XPath; write such as `Application!*",
        ),
        ("▸Security*[System[(EventID &gt;= 4650)]]", "and `<` and `>`, not `&lt;` and `&gt;`"),
        ("Security!*[System[(EventID ▸&gt;= 4650)]]", "write `>`, not `&gt;`"),
    ];
    check(&table, channel_query);
}
