//! What every implementation of the traits promises, as tests of one: it must be empty, and there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entries::{Entries, Found, Place, Write};
use super::{Document, Store};

/// How long a store that looks by itself may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of documents. `look` makes a store look that does not do so by itself; `large` is how many bytes a document may well have.
///
/// # Panics
///
/// When a promise is broken.
pub async fn documents(store: &dyn Store, look: impl AsyncFn(), large: usize) {
    look().await;
    assert_eq!(store.get("a").await, Ok(None));
    let one = Document::after("", b"one".to_vec());
    let other = Document::after("", b"other".to_vec());
    assert_eq!(store.compare_and_set("a", Some(&one.revision), &other).await, Ok(false), "nothing is there");
    assert_eq!(store.compare_and_set("a", None, &one).await, Ok(true));
    assert_eq!(store.compare_and_set("a", None, &other).await, Ok(false), "something is there");
    assert_eq!(store.compare_and_set("a", Some(&other.revision), &other).await, Ok(false), "something else");
    assert_eq!(store.get("a").await, Ok(Some(one.clone())), "nothing was changed");
    let content: Vec<u8> = (0..large).map(|n| (n / 7) as u8).collect();
    let two = Document::after(&one.revision, content);
    let (first, second) = tokio::join!(
        store.compare_and_set("a", Some(&one.revision), &two),
        store.compare_and_set("a", Some(&one.revision), &other)
    );
    assert_ne!(first, second, "one of two wins");
    if first != Ok(true) {
        assert_eq!(store.compare_and_set("a", Some(&other.revision), &two).await, Ok(true));
    }
    assert_eq!(store.get("a").await, Ok(Some(two.clone())));
    // By another name, and one that is older, as an engine that forgot is given it: nobody looks at what a revision says.
    assert_eq!(store.compare_and_set("b.c d", None, &two).await, Ok(true));
    assert_eq!(store.compare_and_set("b.c d", Some(&two.revision), &one).await, Ok(true));
    look().await;
    let wanted = BTreeMap::from([("a".to_owned(), two.revision), ("b.c d".to_owned(), one.revision)]);
    let mut shown = store.watch();
    let is_shown =
        tokio::time::timeout(PATIENCE, shown.wait_for(|shown| shown.as_ref() == Some(&wanted))).await.is_ok();
    assert!(is_shown, "{:?}", store.watch().borrow());
}

/// Of many small values.
///
/// # Panics
///
/// When a promise is broken.
pub async fn entries(entries: &dyn Entries) {
    let place = |group: &str, owner: &str| Place { group: group.to_owned(), owner: owner.to_owned() };
    let document = |revision: &str| Document { revision: revision.to_owned(), content: b"a\nb".to_vec() };
    let write = |owner: &str, seen: Option<&str>, revision: &str| Write {
        place: place("g", owner),
        seen: seen.map(str::to_owned),
        document: document(revision),
    };
    assert!(entries.filling().borrow().is_some());
    let asked = || vec![place("g", "one"), place("h", "one")];
    assert_eq!(entries.read(asked()).await, Ok(vec![Found::Nothing, Found::Nothing]));
    assert_eq!(entries.write(vec![write("one", Some("unseen"), "1")]).await, Ok(vec![true]), "nothing is there");
    assert_eq!(entries.read(asked()).await, Ok(vec![Found::Here(document("1")), Found::Nothing]));
    assert_eq!(entries.read(vec![place("g", "two")]).await, Ok(vec![Found::Unclear]), "one of its group is there");
    let writes = vec![write("one", None, "2"), write("two", None, "3")];
    assert_eq!(entries.write(writes).await, Ok(vec![false, true]), "what is there was not seen");
    assert_eq!(entries.write(vec![write("one", Some("1"), "4")]).await, Ok(vec![true]));
    assert_eq!(entries.write(vec![write("one", Some("1"), "5")]).await, Ok(vec![false]), "somebody has written since");
    let both = entries.write(vec![write("one", Some("4"), "6"), write("one", Some("4"), "7")]).await;
    let won = both.map(|both| both.into_iter().filter(|put| *put).count());
    assert_eq!(won, Ok(1), "one of two wins");
    assert_eq!(entries.doubt().await, Ok(()));
    assert_eq!(entries.read(vec![place("h", "one")]).await, Ok(vec![Found::Unclear]), "it may have been lost");
}
