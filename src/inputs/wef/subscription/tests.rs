use super::query_list::PATHS_MAX;
use super::*;
use crate::filter::rules::Wanted;
use crate::filter::xpath::QueryList;

const MANNER: Manner =
    Manner { content: Content::Raw, delivery: Delivery::LowLatency, compress: true, read_existing_events: false };

fn wanted(channel: &str, select: &str, suppresses: &[&str]) -> Wanted {
    let suppresses = suppresses.iter().map(|text| (*text).into()).collect();
    Wanted { channel: channel.into(), select: select.into(), suppresses }
}

#[test]
fn what_rules_want_of_a_host_becomes_a_query_list_that_windows_takes() {
    let subscriptions = derived(
        &[
            wanted("Application", "*[System[Level<=3]]", &[]),
            wanted("Security", "*", &[]),
            wanted("Security", "*[System[(EventID=4688)]]", &[]),
            wanted("Application", "*[System[EventID=1]]", &[]),
            wanted("System", "*", &["*[System[EventID=7036]]"]),
        ],
        "wef",
        MANNER,
    );
    let [only] = &subscriptions[..] else { panic!("{subscriptions:?}") };
    assert_eq!(
        only.query_list,
        "<QueryList><Query Id=\"0\"><Select Path=\"Application\">*[System[Level&lt;=3]]</Select>\
         <Select Path=\"Application\">*[System[EventID=1]]</Select></Query>\
         <Query Id=\"1\"><Select Path=\"Security\">*</Select></Query>\
         <Query Id=\"2\"><Select Path=\"System\">*</Select><Suppress Path=\"System\">*[System[EventID=7036]]</Suppress></Query></QueryList>"
    );
    assert_eq!(only.whole, ["security"], "the events of System are suppressed in part");
    assert_eq!(QueryList::parse(&only.query_list).expect("it is sound").queries.len(), 3);
    assert_eq!(derived(&[], "wef", MANNER), []);
}

#[test]
fn what_names_too_many_paths_is_split_and_nothing_is_left_out() {
    let many: Vec<Wanted> = (0..PATHS_MAX * 2 + 5).map(|n| wanted(&format!("Channel-{n}"), "*", &[])).collect();
    let subscriptions = derived(&many, "wef", MANNER);
    assert_eq!(subscriptions.len(), 3);
    let paths = |subscription: &Subscription| subscription.query_list.matches("<Select").count();
    assert!(subscriptions.iter().all(|subscription| paths(subscription) <= PATHS_MAX));
    assert_eq!(subscriptions.iter().map(paths).sum::<usize>(), many.len());
    let ids: std::collections::HashSet<&str> = subscriptions.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids.len(), 3);
    let fewer = derived(&many[1..], "wef", MANNER);
    assert_eq!(fewer[0].id, subscriptions[0].id, "a bookmark stays with its part");
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    (dir, Config { name: "own".to_owned(), query_list: path, ..Config::default() })
}

const LIST: &str = r#"<QueryList><Query Id="0" Path="Security">
    <Select>*[System[(EventID=4624)]]</Select><Select Path="System">*</Select></Query></QueryList>"#;

#[test]
fn a_query_list_loads_from_a_file_and_hosts_are_named_by_patterns_and_groups() {
    let (_dir, config) = file("list.xml", LIST);
    let config = Config {
        hosts: vec!["web*.dmz.test".to_owned()],
        except: vec!["web9.dmz.test".to_owned()],
        groups: vec!["plant".to_owned()],
        delivery: Some(Delivery::LowBandwidth),
        heartbeat: Some(Span::secs(600)),
        ..config
    };
    let listed = Listed::load(&config, "wef", MANNER).expect("it is sound");
    let Subscription { query_list, whole, pace, .. } = &listed.subscription;
    assert!(query_list.contains("<Select Path=\"Security\">*[System[(EventID=4624)]]</Select>"), "{query_list}");
    assert_eq!(whole, &["system"]);
    assert_eq!((pace.heartbeat_s, pace.max_time_s), (600, 21_600));
    let named = |names: &[&str], group: Option<&str>| Client {
        identities: names.iter().map(|name| (*name).to_owned()).collect(),
        group: group.map(Into::into),
        ..Client::default()
    };
    assert!(listed.is_for(&named(&[], None), "WEB1.dmz.test"));
    assert!(listed.is_for(&named(&["web2.dmz.test"], None), "other"));
    assert!(listed.is_for(&named(&[], Some("plant")), "other"));
    assert!(!listed.is_for(&named(&[], Some("office")), "other"));
    assert!(!listed.is_for(&named(&[], Some("plant")), "web9.dmz.test"));
}

#[test]
fn a_published_subscription_loads_as_it_is() {
    let text = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Subscription xmlns=\"http://schemas.microsoft.com/2006/03/windows/events/subscription\">\
         <SubscriptionId>Logons</SubscriptionId><SubscriptionType>SourceInitiated</SubscriptionType><Enabled>true</Enabled>\
         <Query><![CDATA[{LIST}]]></Query><ReadExistingEvents>false</ReadExistingEvents></Subscription>"
    );
    let (_dir, config) = file("subscription.xml", &text);
    let listed = Listed::load(&config, "wef", MANNER).expect("it is taken as it is");
    assert_eq!(listed.subscription.whole, ["system"]);
    assert!(QueryList::parse(&listed.subscription.query_list).is_ok());
}

#[test]
fn a_file_that_windows_would_refuse_is_refused_with_its_reason() {
    for (text, word) in [
        ("<QueryList><Query><Select>*</Select></Query></QueryList>".to_owned(), "Path"),
        ("<QueryList/>".to_owned(), "empty"),
        ("{}".to_owned(), "QueryList"),
        (LIST.replace("4624", "="), "list.xml"),
        (format!("<QueryList>{}</QueryList>", "<Query Path='A'><Select>*</Select></Query>".repeat(257)), "256"),
    ] {
        let (_dir, config) = file("list.xml", &text);
        let error = Listed::load(&config, "wef", MANNER).expect_err(word);
        assert!(error.contains(word) && error.contains("list.xml"), "{error}");
    }
    let missing = Config { query_list: "nowhere.xml".into(), ..Config::default() };
    assert!(Listed::load(&missing, "wef", MANNER).is_err());
}
