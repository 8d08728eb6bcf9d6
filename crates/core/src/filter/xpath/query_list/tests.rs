//! Documents that are taken, documents that are refused, and that errors find their place in them.

use super::*;
use crate::filter::xpath::xpath;

fn read(xml: &str) -> QueryList {
    QueryList::parse(xml).unwrap_or_else(|error| panic!("{}", error.pointed(xml)))
}

/// The channels and texts of selectors.
fn told(selectors: &[Selector]) -> Vec<(Option<&str>, &str)> {
    selectors.iter().map(|selector| (selector.channel.as_deref(), &*selector.text)).collect()
}

/// The one Select of the one Query of the document.
fn only(xml: &str) -> Selector {
    let list = read(xml);
    let [query] = &list.queries[..] else { panic!("one query: {xml}") };
    let [select] = &query.selects[..] else { panic!("one select: {xml}") };
    select.clone()
}

#[test]
fn what_the_event_viewer_exports_is_read() {
    let list = read(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- exported -->\r\n<QueryList>\r\n  \
         <Query Id=\"0\" Path=\"Security\" Target='host'>\r\n    <!-- logons -->\r\n    \
         <Select Path=\"Security\">*[System[(EventID &gt;= 4624 and EventID &lt;= 4625)]]</Select>\r\n    \
         <Select Path=\"System\">*</Select>\r\n    \
         <Suppress>*[EventData[Data[@Name=&quot;TargetUserName&quot;]='SYSTEM']]</Suppress>\r\n  </Query>\r\n  \
         <Query Path=\"Windows PowerShell\"><Select>*</Select></Query>\r\n</QueryList>\r\n<!-- end -->\r\n",
    );
    let [first, second] = &list.queries[..] else { panic!("two queries") };
    assert_eq!((first.id.as_deref(), second.id.as_deref()), (Some("0"), None));
    let range = "*[System[(EventID >= 4624 and EventID <= 4625)]]";
    assert_eq!(told(&first.selects), [(Some("Security"), range), (Some("System"), "*")]);
    let system = "*[EventData[Data[@Name=\"TargetUserName\"]='SYSTEM']]";
    assert_eq!(told(&first.suppresses), [(Some("Security"), system)]);
    assert_eq!(told(&second.selects), [(Some("Windows PowerShell"), "*")]);
    assert_eq!((told(&second.suppresses), first.selects[0].expr.clone()), (vec![], xpath(range).expect("a query")));
}

const LIST: &str =
    "<QueryList><Query Id='0' Path='Security'><Select>*[System[EventID&lt;5]]</Select></Query></QueryList>";

#[test]
fn the_list_inside_of_a_subscription_or_a_view_is_read() {
    let subscription = |query: &str| {
        format!(
            "<?xml version='1.0'?>\r\n<Subscription xmlns='http://schemas.microsoft.com/2006/03/windows/events/subscription'>\
             <SubscriptionId>Logons</SubscriptionId><Description/><Delivery Mode='Push'><Batching><MaxItems>5</MaxItems>\
             </Batching></Delivery><Query>{query}</Query><ReadExistingEvents>true</ReadExistingEvents>\
             <!-- who may --><AllowedSourceDomainComputers>O:NSG:NSD:(A;;GA;;;DC)</AllowedSourceDomainComputers></Subscription>\r\n"
        )
    };
    let node = format!("<QueryNode><Name LanguageNeutralValue='x'>Logons</Name>{LIST}</QueryNode>");
    let view = format!(
        "<ViewerConfig><QueryConfig><QueryParams><Simple><Channel>Security</Channel></Simple></QueryParams>{node}</QueryConfig>\
         <ResultsConfig><Columns><Column Name='Level' Type='System.String'>150</Column></Columns></ResultsConfig></ViewerConfig>"
    );
    let escaped = LIST.replace('&', "&amp;").replace('<', "&lt;");
    for document in [
        subscription(&format!("<![CDATA[\r\n  <?xml version='1.0'?>{LIST}\r\n]]>")),
        subscription(&format!("\r\n  {LIST}\r\n")),
        subscription(&escaped),
        view,
        format!("<QueryConfig>{node}</QueryConfig>"),
        node,
        LIST.to_owned(),
    ] {
        assert!(QueryList::is_meant(&document));
        assert_eq!(told(&[only(&document)]), [(Some("Security"), "*[System[EventID<5]]")], "{document}");
    }
    assert!(!QueryList::is_meant("*[System]") && QueryList::is_meant("\u{feff}\r\n<QueryList/>"));
}

#[test]
fn text_is_put_together_from_its_parts() {
    for (inside, text) in [
        ("*", "*"),
        ("*[a&lt;5]", "*[a<5]"),
        ("*[a&#60;5]", "*[a<5]"),
        ("*[a&#x3C;5]", "*[a<5]"),
        ("<![CDATA[*[a<5 and b='&lt;']]]>", "*[a<5 and b='&lt;']"),
        ("*[a<![CDATA[<]]>5]", "*[a<5]"),
        ("*[a<!-- less -->=<!-- than -->5]", "*[a=5]"),
        ("\r\n  *\r\n", "\r\n  *\r\n"),
    ] {
        let select = only(&format!("<QueryList><Query><Select>{inside}</Select></Query></QueryList>"));
        assert_eq!((&*select.text, select.channel), (text, None), "{inside}");
        assert_eq!(select.expr, xpath(text).expect("a query"), "{inside}");
    }
}

#[test]
fn forms_that_mean_the_same_are_taken() {
    for attributes in ["Path=\"a&amp;b\"", "Path='a&amp;b'", "\n\tPath = \"a&#38;b\"\n", "Path=' a&amp;b '"] {
        let on_select = format!("<QueryList><Query><Select {attributes}>*</Select></Query></QueryList>");
        let on_query = format!("<QueryList ><Query {attributes} ><Select>*</Select ></Query></QueryList>");
        assert_eq!(only(&on_select).channel.as_deref(), Some("a&b"), "{attributes}");
        assert_eq!(only(&on_query).channel.as_deref(), Some("a&b"), "{attributes}");
    }
    for target in ["Host", "CONTAINER", "both"] {
        only(&format!("<QueryList><Query Target=\"{target}\"><Select>*</Select></Query></QueryList>"));
    }
    // A path for every selector, by itself or by its query.
    read("<QueryList><Query><Select Path='A'>*</Select></Query><Query Path='B'><Select>*</Select></Query></QueryList>");
    // Channels compare without regard to letter case.
    read("<QueryList><Query Path='A'><Select Path='Ä'>*</Select><Suppress Path='ä'>*</Suppress></Query></QueryList>");
}

/// `▸` stands before the place that the error names.
const INVALID: &[(&str, &str)] = &[
    ("▸", "expected `<QueryList>`, found the end of the document"),
    ("▸*[System[EventID=1]]", "no text is expected outside of the QueryList"),
    ("▸<Queries/>", "expected `<QueryList>`, found `<Queries>`"),
    ("▸<querylist/>", "expected `<QueryList>` (case matters), found `<querylist>`"),
    ("▸<QueryList/>", "the QueryList is empty"),
    ("▸<QueryList></QueryList>", "the QueryList is empty"),
    ("▸</QueryList>", "`</QueryList>` closes nothing"),
    ("▸<!DOCTYPE QueryList [<!ENTITY a 'b'>]><QueryList/>", "a document type declaration is never accepted"),
    ("<QueryList ▸xmlns='x'/>", "`<QueryList>` has no attribute \"xmlns\"; it takes no attributes"),
    ("<QueryList>▸stray</QueryList>", "no text is expected in `<QueryList>`; only `<Query>`"),
    ("<QueryList>▸<Select>*</Select></QueryList>", "expected `<Query>`, found `<Select>`"),
    ("<QueryList>▸<Query/></QueryList>", "Query 1 has no Select; write one"),
    ("<QueryList>▸<Query Id='7'><Suppress>*</Suppress></Query></QueryList>", "Query 1 (Id \"7\") has no Select"),
    ("<QueryList><Query>▸*</Query></QueryList>", "no text is expected in `<Query>`; write it in a `<Select>`"),
    (
        "<QueryList><Query>▸<Supress>*</Supress></Query></QueryList>",
        "expected `<Select>` or `<Suppress>`, found `<Supress>`",
    ),
    (
        "<QueryList><Query ▸path='A'><Select>*</Select></Query></QueryList>",
        "no attribute \"path\"; it takes Id, Path, Target (case",
    ),
    ("<QueryList><Query ▸Path=A><Select>*</Select></Query></QueryList>", "an attribute without a value in quotes"),
    ("<QueryList><Query ▸Path><Select>*</Select></Query></QueryList>", "an attribute without a value in quotes"),
    ("<QueryList><Query Path='A' ▸Path='B'><Select>*</Select></Query></QueryList>", "Path stands twice"),
    ("<QueryList><Query Path='▸'><Select>*</Select></Query></QueryList>", "the channel's name is empty"),
    (
        "<QueryList><Query Path='▸FILE://C:\\a.evtx'><Select>*</Select></Query></QueryList>",
        "a Path to a file is never opened",
    ),
    ("<QueryList><Query Target='▸Guest'><Select>*</Select></Query></QueryList>", "write `Host`, `Container` or `Both`"),
    ("<QueryList><Query Path='a▸&b'><Select>*</Select></Query></QueryList>", "write `&amp;`"),
    ("<QueryList><Query><Select ▸Id='1'>*</Select></Query></QueryList>", "no attribute \"Id\"; it takes Path"),
    ("<QueryList><Query><Select>*[a='▸&nbsp;']</Select></Query></QueryList>", "`&` begins no entity"),
    ("<QueryList><Query><Select>*[a▸<b]</Select></Query></QueryList>", "write `&lt;` for `<`"),
    ("<QueryList><Query><Select>*[a ▸<= 5]</Select></Query></QueryList>", "write `&lt;` for `<`"),
    (
        "<QueryList><Query><Select>*</Select>▸</Suppress></Query></QueryList>",
        "expected `</Query>`, found `</Suppress>`",
    ),
    ("<QueryList><Query><Select>*▸</Query></QueryList>", "expected `</Select>`, found `</Query>`"),
    ("<QueryList><Query><Select>*▸", "expected `</Select>`, found the end"),
    ("<QueryList><Query><Select>*</Select>▸", "expected `</Query>`, found the end"),
    ("<QueryList><Query><Select>*</Select></Query>▸", "expected `</QueryList>`, found the end"),
    ("<QueryList><Query><Select>*</Select></Query></QueryList>▸<QueryList/>", "expected the end of the document"),
    ("<QueryList><Query><Select>*</Select></Query></QueryList> ▸x", "no text is expected outside of the QueryList"),
    (
        "<QueryList><Query><Select Path='A'>*</Select></Query><Query>▸<Select>*</Select></Query></QueryList>",
        "some queries have a Path and some have none",
    ),
    (
        "<QueryList><Query><Select>*</Select></Query><Query Path='A'>▸<Select>*</Select></Query></QueryList>",
        "some queries have a Path and some have none",
    ),
    (
        "<QueryList><Query Path='A'><Select>*</Select>▸<Suppress Path='B'>*</Suppress></Query></QueryList>",
        "no Select of Query 1 has the Path of this Suppress, \"B\"",
    ),
    // Around a list, and in one that is inside of something.
    ("▸<Subscription><Enabled>true</Enabled></Subscription>", "there is no `<Query>` in this `<Subscription>`"),
    ("▸<ViewerConfig><QueryConfig/></ViewerConfig>", "there is no `<QueryList>` in this `<ViewerConfig>`"),
    ("<Subscription><Query><![CDATA[▸*[System]]]></Query></Subscription>", "no text is expected"),
    ("<Subscription><Query><![CDATA[▸<Query/>]]></Query></Subscription>", "expected `<QueryList>`, found `<Query>`"),
    ("<Subscription><Query><![CDATA[]]>▸</Query></Subscription>", "expected `<QueryList>`, found the end of the query"),
    (
        "<Subscription><Query><![CDATA[<QueryList><Query><Select>*[a▸==1]</Select></Query></QueryList>]]></Query></Subscription>",
        "in Select 1 of Query 1: write `=`, not `==`",
    ),
    ("<Subscription><Query>&lt;QueryList>▸&lt;Select/>&lt;/QueryList></Query></Subscription>", "expected `<Query>`"),
    (
        "<QueryNode><QueryList><Query><Select>*</Select></Query></QueryList>▸<QueryList><Query><Select>*</Select></Query></QueryList></QueryNode>",
        "a second `<QueryList>`; write a file for each",
    ),
    ("<QueryNode><Name>x▸</QueryNode>", "expected `</Name>`, found `</QueryNode>`"),
    ("<Subscription>▸x</Subscription>", "no text is expected in `<Subscription>`"),
    ("<QueryNode><a><b>▸", "expected `</a>`, found the end of the document"),
    // Mistakes in an XPath, where the document writes more characters than the query has.
    ("<QueryList><Query><Select>▸</Select></Query></QueryList>", "in Select 1 of Query 1: the query is empty"),
    ("<QueryList><Query><Select/>▸</Query></QueryList>", "in Select 1 of Query 1: the query is empty"),
    (
        "<QueryList><Query Id='4'><Select>*</Select><Select>*[a &lt; 5 and b &gt; ▸]</Select></Query></QueryList>",
        "in Select 2 of Query 1 (Id \"4\"): expected a value to compare with",
    ),
    (
        "<QueryList><Query><Select>*</Select><Suppress>*[a='&amp;'<!-- x --> and b▸==1]</Suppress></Query></QueryList>",
        "in Suppress 1 of Query 1: write `=`, not `==`",
    ),
    ("<QueryList><Query><Select><![CDATA[*[a ▸&lt; 5]]]></Select></Query></QueryList>", "write `<`, not `&lt;`"),
    ("<QueryList><Query><Select>*[a ▸&amp;lt; 5]</Select></Query></QueryList>", "write `<`, not `&lt;`"),
    ("<QueryList><Query><Select>*[a='&lt;' ▸b]</Select></Query></QueryList>", "an operator is missing before it"),
];

#[test]
fn every_mistake_is_placed_and_explained() {
    let mut surprises = String::new();
    for (marked, part) in INVALID {
        let (before, after) = marked.split_once('▸').expect("a mark");
        let xml = format!("{before}{after}");
        match QueryList::parse(&xml) {
            Err(error) if error.offset == before.len() && error.message.contains(part) => {}
            Err(error) => surprises.push_str(&format!("\n{marked}: {part}?\n{}\n", error.pointed(&xml))),
            Ok(list) => surprises.push_str(&format!("\n{marked}: {part}? It was taken: {list:?}\n")),
        }
    }
    assert!(surprises.is_empty(), "{surprises}");
}

#[test]
fn limits_are_exact_and_told() {
    let selects = |count: usize| {
        format!(
            "<QueryList><Query>{}</Query></QueryList>",
            "<Select>*</Select><Suppress>*</Suppress>".repeat(count / 2)
        )
    };
    read(&selects(MAX_SELECTORS));
    let refused = QueryList::parse(&selects(MAX_SELECTORS + 2)).expect_err("too many");
    assert_eq!(refused.message, "the document has more than 1000 Select and Suppress elements; split it");

    let padded = |bytes: usize| {
        let list = "<QueryList><Query><Select>*</Select></Query></QueryList>";
        format!("{list}{}", " ".repeat(bytes - list.len()))
    };
    read(&padded(MAX_DOCUMENT_BYTES));
    let refused = QueryList::parse(&padded(MAX_DOCUMENT_BYTES + 1)).expect_err("too long");
    assert_eq!(refused.message, "the document has 1048577 bytes; at most 1048576 are taken: split it");
}

proptest::proptest! {
    #[test]
    fn hostile_documents_are_refused_at_a_place_inside(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "<QueryList>", "</QueryList>", "<Query>", "<Query Path='ä'>", "</Query>", "<Select>", "<Select/>",
                "</Select>", "<Suppress Path=\"&lt;\">", "</Suppress>", "*", "&lt;", "&", "é", "<", ">", "=", "<!--", "-->",
                "<![CDATA[", "]]>", "<?", "?>", " ", "'", "\u{feff}", "</", "/>", "<Subscription>", "</Subscription>",
                "<QueryNode>", "</QueryNode>",
            ]),
            0..12,
        )
    ) {
        let xml = parts.concat();
        if let Err(error) = QueryList::parse(&xml) {
            proptest::prop_assert!(error.offset <= xml.len(), "{:?}", error);
            proptest::prop_assert!(error.pointed(&xml).starts_with(&error.message));
        }
    }
}
