//! What gateways share, over cells in memory to which everything happens that can happen to servers.

use std::sync::Arc;

use super::documents::Documents;
use super::in_memory::InMemory;
use super::values::Values;
use crate::shared::conformance;
use crate::shared::entries::{Entries as _, Found, Place, Write};
use crate::shared::{Document, Store as _};

fn documents() -> (Arc<InMemory>, Documents) {
    let cells = Arc::new(InMemory::default());
    (cells.clone(), Documents::new(cells))
}

async fn values_over(cells: &Arc<InMemory>) -> Values {
    let values = Values::new(cells.clone(), "bookmarks");
    values.look().await.unwrap();
    values
}

async fn values() -> (Arc<InMemory>, Values) {
    let cells = Arc::new(InMemory::default());
    let values = values_over(&cells).await;
    (cells, values)
}

fn place(group: &str, owner: &str) -> Place {
    Place { group: group.to_owned(), owner: owner.to_owned() }
}

fn document(revision: &str) -> Document {
    Document { revision: revision.to_owned(), content: revision.as_bytes().to_vec() }
}

async fn find(values: &Values, group: &str, owner: &str) -> Found {
    values.read(vec![place(group, owner)]).await.unwrap().remove(0)
}

async fn put(values: &Values, group: &str, owner: &str, seen: Option<&str>, revision: &str) -> bool {
    let write = Write { place: place(group, owner), seen: seen.map(str::to_owned), document: document(revision) };
    values.write(vec![write]).await.unwrap()[0]
}

#[tokio::test]
async fn they_keep_the_promises_of_the_traits() {
    let (_, documents) = documents();
    conformance::documents(&documents, async || documents.look().await.unwrap(), 5_000).await;
    let (_, values) = values().await;
    conformance::entries(&values).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_half_a_document_and_of_earlier_ones_nothing_stays() {
    let (cells, documents) = documents();
    let mut before = None::<Document>;
    for n in 0..20 {
        let next = Document::after(before.as_ref().map_or("", |before| &before.revision), vec![n; 3_500]);
        let expected = before.as_ref().map(|before| &*before.revision);
        assert_eq!(documents.compare_and_set("agents", expected, &next).await, Ok(true));
        assert_eq!(documents.get("agents").await, Ok(Some(next.clone())));
        before = Some(next);
    }
    assert_eq!(cells.places().len(), 5, "a head and four parts: {:?}", cells.places());
    let part = cells.places().into_iter().find(|place| place.starts_with("part.")).unwrap();
    cells.take(&part);
    let away = documents.get("agents").await.unwrap_err();
    assert!(away.0.contains("not whole"), "{away}");
}

#[tokio::test]
async fn what_a_slower_gateway_laid_down_goes_and_what_the_next_one_lays_down_stays() {
    let (cells, documents) = documents();
    let one = Document::after("", vec![1; 2_500]);
    assert_eq!(documents.compare_and_set("rules", None, &one).await, Ok(true));
    // Its parts are there, and its head came too late, or was never sent.
    let slow = Document::after("", vec![2; 2_500]);
    cells.leave_unanswered(1);
    assert!(documents.compare_and_set("rules", Some(&one.revision), &slow).await.is_err(), "after its first part");
    assert_eq!(documents.get("rules").await, Ok(Some(one.clone())));
    let two = Document::after(&one.revision, vec![3; 2_500]);
    assert_eq!(documents.compare_and_set("rules", Some(&one.revision), &two).await, Ok(true));
    assert_eq!(cells.places().len(), 4, "{:?}", cells.places());
    assert_eq!(documents.get("rules").await, Ok(Some(two)));
}

#[tokio::test]
async fn a_document_whose_answer_is_lost_may_have_been_set() {
    let (cells, documents) = documents();
    let one = Document::after("", b"small".to_vec());
    cells.leave_unanswered(1);
    assert!(documents.compare_and_set("rules", None, &one).await.is_err(), "its part");
    assert_eq!(documents.get("rules").await, Ok(None));
    // One without parts: the head is kept, and not answered.
    let empty = Document::after("", Vec::new());
    cells.leave_unanswered(1);
    assert!(documents.compare_and_set("rules", None, &empty).await.is_err());
    assert_eq!(documents.get("rules").await, Ok(Some(empty.clone())));
    let two = Document::after(&empty.revision, b"later".to_vec());
    assert_eq!(documents.compare_and_set("rules", None, &two).await, Ok(false));
    assert_eq!(documents.compare_and_set("rules", Some(&empty.revision), &two).await, Ok(true));
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused_in_words() {
    let (_, documents) = documents();
    let large = Document { revision: "1".to_owned(), content: vec![0; (64 << 20) + 1] };
    let away = documents.compare_and_set("agents", None, &large).await.unwrap_err();
    assert!(away.0.contains("67108865 bytes, and may have 67108864"), "{away}");
}

#[tokio::test]
async fn revisions_are_shown_and_none_while_nobody_can_be_asked() {
    let (cells, documents) = documents();
    let revisions = documents.watch();
    assert_eq!(*revisions.borrow(), None);
    documents.look().await.unwrap();
    assert!(revisions.borrow().as_ref().unwrap().is_empty());
    cells.set_away(true);
    assert!(documents.look().await.is_err());
    assert_eq!(*revisions.borrow(), None);
    cells.set_away(false);
    // One that was removed, and made anew with as many messages, is another one.
    let one = Document::after("", b"a".to_vec());
    documents.compare_and_set("rules", None, &one).await.unwrap();
    documents.look().await.unwrap();
    assert_eq!(revisions.borrow().as_ref().unwrap()["rules"], one.revision);
    cells.remake();
    documents.compare_and_set("agents", None, &one).await.unwrap();
    documents.look().await.unwrap();
    assert_eq!(revisions.borrow().as_ref().unwrap().keys().collect::<Vec<_>>(), ["agents"]);
    cells.empty();
    documents.look().await.unwrap();
    assert!(revisions.borrow().as_ref().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_only_said_where_there_never_was_anything() {
    let (_, values) = values().await;
    assert_eq!(find(&values, "g", "o").await, Found::Nothing);
    assert!(put(&values, "g", "o", None, "1").await);
    assert_eq!(find(&values, "g", "o").await, Found::Here(document("1")));
    assert_eq!(find(&values, "g", "other").await, Found::Unclear, "another one of its group is there");
    assert_eq!(find(&values, "other", "o").await, Found::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leads_no_more_cannot_say_that_there_is_nothing() {
    let (cells, values) = values().await;
    cells.set_stale(true);
    assert!(values.read(vec![place("g", "o")]).await.is_err(), "it has not what a quorum has");
    assert!(put(&values_over(&cells).await, "g", "o", None, "1").await);
    assert!(values.read(vec![place("g", "o")]).await.is_err());
    cells.set_stale(false);
    assert_eq!(find(&values, "g", "o").await, Found::Here(document("1")));
}

#[tokio::test]
async fn a_stream_that_is_made_anew_or_emptied_is_another_filling_and_says_nothing_before_that_is_known() {
    for forget in [InMemory::remake, InMemory::empty] {
        let (cells, values) = values().await;
        let filling = values.filling();
        let before = filling.borrow().unwrap();
        assert!(put(&values, "g", "o", None, "1").await);
        forget(&cells);
        // Another gateway has noticed it, and goes on.
        let other = values_over(&cells).await;
        assert!(put(&other, "h", "o", None, "1").await);
        assert!(values.read(vec![place("g", "o")]).await.is_err());
        values.look().await.unwrap();
        let now = filling.borrow().unwrap();
        assert_ne!(now, before);
        assert_eq!(Some(now), *other.filling().borrow());
        assert_eq!(find(&values, "g", "o").await, Found::Nothing, "nobody has said that something is missing");
    }
}

#[tokio::test]
async fn one_that_lost_its_end_is_another_filling() {
    let (cells, values) = values().await;
    assert_eq!(find(&values, "g", "o").await, Found::Nothing);
    assert!(put(&values, "g", "o", None, "1").await);
    assert_eq!(find(&values, "h", "o").await, Found::Nothing);
    let before = values.filling().borrow().unwrap();
    cells.lose(2);
    assert!(values.read(vec![place("g", "o")]).await.is_err());
    values.look().await.unwrap();
    assert_ne!(values.filling().borrow().unwrap(), before);
    let other = values_over(&cells).await;
    assert_eq!(*other.filling().borrow(), *values.filling().borrow());
}

#[tokio::test]
async fn doubt_lasts_a_month_for_everybody() {
    let (cells, values) = values().await;
    values.doubt().await.unwrap();
    let other = values_over(&cells).await;
    assert_eq!(find(&other, "g", "o").await, Found::Unclear);
    cells.pass(30);
    assert_eq!(find(&other, "g", "o").await, Found::Unclear);
    cells.pass(1);
    assert_eq!(find(&other, "g", "o").await, Found::Nothing);
}

#[tokio::test]
async fn what_says_which_filling_it_is_is_renewed_and_stays_the_same() {
    let (cells, values) = values().await;
    let before = *values.filling().borrow();
    let looked = async || {
        let puts = cells.puts();
        values.look().await.unwrap();
        cells.puts() - puts
    };
    assert_eq!(looked().await, 0);
    cells.pass(31);
    assert_eq!([looked().await, looked().await], [1, 0]);
    assert_eq!(find(&values, "g", "o").await, Found::Nothing);
    assert_eq!(*values.filling().borrow(), before);
}

#[tokio::test]
async fn an_owner_and_a_group_have_bounds() {
    let (_, values) = values().await;
    for n in 0..16 {
        assert!(put(&values, "g", &format!("o{n}"), None, "1").await);
    }
    assert!(!put(&values, "g", "o16", None, "1").await, "the group is full");
    assert!(put(&values, "g", "o3", Some("1"), "2").await, "who is there already goes on");
    let writes = |from: usize, to: usize| {
        let write = |n| Write { place: place(&format!("group-{n}"), "owner"), seen: None, document: document("1") };
        (from..to).map(write).collect::<Vec<_>>()
    };
    assert!(values.write(writes(0, 4_090)).await.unwrap().iter().all(|put| *put));
    let put = values.write(writes(4_090, 4_100)).await.unwrap();
    assert_eq!(put.iter().filter(|put| **put).count(), 6, "its owner has no room for more");
    assert_eq!(find(&values, "group-5000", "owner").await, Found::Unclear, "it may have been refused");
    assert_eq!(find(&values, "group-5000", "somebody").await, Found::Nothing);
}

#[tokio::test]
async fn while_they_are_away_nobody_answers() {
    let (cells, values) = values().await;
    let filling = values.filling();
    cells.set_away(true);
    assert!(values.look().await.is_err());
    assert_eq!(*filling.borrow(), None);
    assert!(values.read(vec![place("g", "o")]).await.is_err());
    assert!(values.doubt().await.is_err());
    let write = Write { place: place("g", "o"), seen: None, document: document("1") };
    assert!(values.write(vec![write.clone()]).await.is_err());
    cells.set_away(false);
    values.look().await.unwrap();
    // An answer that is lost: it may be there.
    cells.leave_unanswered(1);
    assert!(values.write(vec![write]).await.is_err());
    assert_eq!(find(&values, "g", "o").await, Found::Here(document("1")));
}
