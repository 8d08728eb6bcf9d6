//! The power of two choices: look at two at random, take the less loaded one.
//!
//! Always taking the least loaded of all sends every caller with the same stale view to the same endpoint; two random
//! ones do nearly as well and spread the herd.

/// The position of the choice among `loads`; `None` when there are none.
pub(super) fn choose(loads: &[f64], rng: &mut fastrand::Rng) -> Option<usize> {
    match loads.len() {
        0 => None,
        1 => Some(0),
        n => {
            let first = rng.usize(..n);
            let second = (first + rng.usize(1..n)) % n;
            // `<=` keeps the random order for equal loads, so ties are shared evenly.
            Some(if loads[first] <= loads[second] { first } else { second })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_loaded_of_two_is_taken_and_ties_are_shared() {
        let mut rng = fastrand::Rng::with_seed(3);
        assert_eq!(choose(&[], &mut rng), None);
        assert_eq!(choose(&[9.0], &mut rng), Some(0));
        assert!((0..100).all(|_| choose(&[2.0, 1.0], &mut rng) == Some(1)));
        let first = (0..3000).filter(|_| choose(&[1.0, 1.0, 1.0], &mut rng) == Some(0)).count();
        assert!((900..1100).contains(&first), "{first}");
        assert!((0..100).all(|_| choose(&[5.0, 1.0, 2.0], &mut rng) != Some(0)));
    }
}
