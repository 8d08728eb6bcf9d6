use super::super::super::alike::Groups;
use super::*;
use crate::outputs::form::Form;

/// Builders of outputs, each with the number of rows that it made.
struct Outputs<'l> {
    log: &'l Log,
    groups: Groups,
}

impl Outputs<'_> {
    fn begin(&self, name: &str, max_events: usize) -> (Builder, Arc<AtomicUsize>) {
        let stub = Stub::of(max_events);
        let made = Arc::clone(&stub.made);
        let reader = self.log.spool.reader(0).unwrap();
        let builder = Builder::new(name.into(), stub, reader, Vec::new(), Vec::new());
        (builder.sharing(Some(Arc::new(self.groups.join(Form::for_tests())))), made)
    }
}

/// All batches to the end of the log.
fn batches(builder: &mut Builder) -> Vec<Batch> {
    let next = || {
        loop {
            let built = builder.build(true, 0).unwrap();
            if built.batch.is_some() || built.unfilled {
                return built.batch;
            }
        }
    };
    std::iter::from_fn(next).collect()
}

fn rows(batches: &[Batch]) -> Vec<(Ordinal, Row)> {
    batches.iter().flat_map(|batch| &batch.events).map(|event| (event.ordinal, event.row.clone())).collect()
}

#[tokio::test]
async fn outputs_of_one_form_make_each_row_once_and_get_the_same_whatever_their_routes() {
    let log = Log::new();
    for record in 0..5 {
        log.append(&[0, 3, 1, 3, 2, 0].repeat(50), |at| format!("{record} {at:060}").into_bytes()).await;
    }
    let outputs = Outputs { log: &log, groups: Groups::default() };
    let ((mut a, by_a), (mut b, by_b)) = (outputs.begin("a", 70), outputs.begin("b", 90));
    let (of_a, of_b) = (rows(&batches(&mut a)), rows(&batches(&mut b)));
    assert_eq!((of_a.len(), of_b.len()), (1250, 1250), "five of six events each");
    assert_eq!(by_a.load(Ordering::Relaxed), 1250);
    assert_eq!(by_b.load(Ordering::Relaxed), 250, "only what the first did not want");
    for (ordinal, row) in of_a.iter().chain(&of_b) {
        assert_eq!(row.bytes, format!("{} {:060}", ordinal / 300, ordinal % 300));
    }
}

#[tokio::test]
async fn an_output_without_another_of_its_form_keeps_nothing_for_others() {
    let log = Log::new();
    log.append(&[0; 10], numbered).await;
    let outputs = Outputs { log: &log, groups: Groups::default() };
    let (mut alone, _) = outputs.begin("a", 100);
    let batch = alone.build(true, 0).unwrap().batch.unwrap();
    drop(alone);
    assert!(batch.events.iter().all(|event| event.row.bytes.is_unique()));
}

#[tokio::test]
async fn a_few_events_of_a_record_keep_nothing_of_it_in_memory_where_others_want_all() {
    let log = Log::new();
    log.append(&[2, 3, 2, 2, 2], |_| vec![b' '; 1_000]).await;
    let outputs = Outputs { log: &log, groups: Groups::default() };
    let ((mut few, _), (mut all, _)) = (outputs.begin("a", 100), outputs.begin("b", 100));
    let all = all.build(true, 0).unwrap().batch.unwrap();
    let few = few.build(true, 0).unwrap().batch.unwrap();
    assert!(few.events[0].event.raw.is_unique() && few.events[0].row.bytes.is_unique());
    assert_eq!(all.events.len(), 5);
}

#[tokio::test]
async fn outputs_of_one_form_that_went_apart_make_the_same_batches_again_behind_the_next_mark() {
    let log = Log::new();
    for _ in 0..30 {
        log.append(&[0; 5_000], numbered).await;
    }
    let outputs = Outputs { log: &log, groups: Groups::default() };
    let ((mut a, _), (mut b, _)) = (outputs.begin("a", 1_000), outputs.begin("b", 1_000));
    a.cut_to(Some(333));
    assert_eq!(a.build(true, 0).unwrap().batch.unwrap().range(), 0..333);
    a.cut_to(None);
    let ranges = |batches: Vec<Batch>| batches.iter().map(Batch::range).collect::<Vec<_>>();
    let (of_a, of_b) = (ranges(batches(&mut a)), ranges(batches(&mut b)));
    assert!(of_a.iter().all(|range| !of_b.contains(range) || range.start >= 1 << 16), "apart at first");
    let behind =
        |ranges: Vec<Range<Ordinal>>| -> Vec<_> { ranges.into_iter().filter(|range| range.start >= 1 << 16).collect() };
    let (of_a, of_b) = (behind(of_a), behind(of_b));
    assert_eq!(of_a, of_b);
    assert_eq!(of_a.first().map(|range| range.start), Some(1 << 16));
    assert!(of_a.len() >= 84, "{}", of_a.len());
}

#[tokio::test]
async fn batches_of_a_former_process_keep_their_bounds_across_a_mark() {
    let log = Log::new();
    for _ in 0..14 {
        log.append(&[0; 5_000], numbered).await;
    }
    let outputs = Outputs { log: &log, groups: Groups::default() };
    let (_other, _) = outputs.begin("b", 1_000);
    let again = Range { start: (1 << 16) - 10, end: (1 << 16) + 10 };
    let settled = vec![0..again.start, again.end..log.end()];
    let reader = log.spool.reader(again.start).unwrap();
    let builder = Builder::new("a".into(), Stub::of(1_000), reader, settled, vec![again.clone()]);
    let mut builder = builder.sharing(Some(Arc::new(outputs.groups.join(Form::for_tests()))));
    assert_eq!(builder.build(true, 0).unwrap().batch.unwrap().range(), again);
}
