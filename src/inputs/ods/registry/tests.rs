use super::*;

/// A certificate of an agent.
pub(super) fn agent(agent: u8, certificate: u8) -> Agent {
    Agent {
        workspace: "w".into(),
        agent: format!("agent-{agent}").into(),
        computer: format!("pc{agent}").into(),
        system: None,
        certificate: format!("certificate-{certificate}").into(),
        windows_thumbprint: "X".into(),
        valid_s: [0, 1 << 40],
        registered_s: u64::from(certificate),
        seen_s: 0,
        seen_at_use_s: 0,
        is_confirmed: false,
    }
}

fn certificates(state: &State) -> Vec<String> {
    let mut found: Vec<String> = state.agents().map(|agent| agent.certificate.to_string()).collect();
    found.sort();
    found
}

fn register(state: &mut State, certificate: Agent) -> Result<usize, NotKept> {
    state.apply(Change::Register(Box::new(certificate), Proof::Shown), 100)
}

#[test]
fn both_certificates_are_good_until_the_new_one_is_seen() {
    let mut state = State::default();
    register(&mut state, agent(1, 1)).expect("there is room");
    state.apply(Change::Seen("certificate-1".into(), 5), 5).expect("it is known");
    register(&mut state, agent(1, 2)).expect("there is room");
    register(&mut state, agent(2, 3)).expect("there is room");
    state.apply(Change::Seen("certificate-1".into(), 6), 6).expect("it is known");
    assert_eq!(certificates(&state), ["certificate-1", "certificate-2", "certificate-3"]);
    state.apply(Change::Seen("certificate-2".into(), 7), 7).expect("it is known");
    assert_eq!(certificates(&state), ["certificate-2", "certificate-3"]);
    assert!(state.find("certificate-2").is_some_and(|agent| agent.is_confirmed && agent.seen_s == 7));
}

#[test]
fn what_an_agent_registers_again_and_again_takes_no_room_from_others_and_never_the_one_in_use() {
    let mut state = State::default();
    register(&mut state, agent(1, 1)).expect("there is room");
    state.apply(Change::Seen("certificate-1".into(), 5), 5).expect("it is known");
    (2..100).for_each(|n| _ = register(&mut state, agent(1, n)));
    let left = certificates(&state);
    assert!(
        left.len() <= 4 && left.contains(&"certificate-1".to_owned()) && left.contains(&"certificate-99".to_owned())
    );
    // Another computer with the same GUID is another agent.
    let cloned = Agent { computer: "pc2".into(), ..agent(1, 200) };
    register(&mut state, cloned).expect("there is room");
    assert!(certificates(&state).contains(&"certificate-1".to_owned()));
}

#[test]
fn who_is_revoked_may_not_come_back_until_restored() {
    let mut state = State::default();
    register(&mut state, agent(1, 1)).expect("there is room");
    assert_eq!(state.apply(Change::Revoke("agent-9".into(), 1), 1), Err(NotKept::Unknown));
    assert_eq!(state.apply(Change::Revoke("agent-1".into(), 1), 1), Ok(1));
    assert_eq!(certificates(&state), Vec::<String>::new());
    assert_eq!(register(&mut state, agent(1, 2)), Err(NotKept::Revoked));
    assert_eq!(state.apply(Change::Restore("agent-1".into()), 1), Ok(1));
    assert_eq!(state.apply(Change::Restore("agent-1".into()), 1), Err(NotKept::Unknown));
    assert_eq!(register(&mut state, agent(1, 2)), Ok(1));
}

#[test]
fn who_was_not_seen_for_long_is_forgotten_by_the_time_of_use_and_by_no_clock() {
    let mut state = State::default();
    register(&mut state, agent(1, 1)).expect("there is room");
    register(&mut state, agent(2, 2)).expect("there is room");
    state.apply(Change::Seen("certificate-2".into(), u64::MAX), 500).expect("it is known");
    assert_eq!(state.apply(Change::Expire(300), 550), Ok(1));
    assert_eq!(certificates(&state), ["certificate-2"]);
}

#[test]
fn at_the_limit_new_agents_are_refused_and_known_ones_are_not() {
    let mut state = State::default();
    for n in 0..CERTIFICATES_MAX {
        let one = Agent { is_confirmed: true, ..numbered(n) };
        state.by_certificate.insert(Arc::clone(&one.certificate), Arc::new(one));
    }
    assert_eq!(register(&mut state, agent(1, 1)), Err(NotKept::Full));
    assert!(state.apply(Change::Seen("7".into(), 1), 1).is_ok_and(|count| count == 1));
}

/// One of very many.
fn numbered(n: usize) -> Agent {
    Agent { agent: format!("{n}").into(), certificate: format!("{n}").into(), ..agent(1, 1) }
}

#[test]
fn registrations_that_were_never_used_keep_nobody_out() {
    let mut state = State::default();
    for n in 0..CERTIFICATES_MAX {
        let one = Agent { is_confirmed: n == 0, registered_s: n as u64, ..numbered(n) };
        state.by_certificate.insert(Arc::clone(&one.certificate), Arc::new(one));
    }
    assert_eq!(register(&mut state, agent(1, 1)), Ok(1));
    assert!(state.find("0").is_some(), "it is in use");
    assert!(state.find("1").is_none() && state.find("2").is_some(), "the oldest of the others went");
    assert_eq!(state.agents().count(), CERTIFICATES_MAX);
}

#[test]
fn a_certificate_stays_whose_it_is_until_somebody_else_shows_its_key() {
    let mut state = State::default();
    register(&mut state, agent(1, 1)).expect("there is room");
    state.apply(Change::Seen("certificate-1".into(), 5), 5).expect("it is known");
    let theirs = Agent { workspace: "other".into(), ..agent(2, 1) };
    let said = state.apply(Change::Register(Box::new(theirs.clone()), Proof::Missing), 6);
    assert_eq!(said, Err(NotKept::Others), "anybody can write a certificate that he saw");
    assert!(state.find("certificate-1").is_some_and(|agent| &*agent.agent == "agent-1"));
    let again = state.apply(Change::Register(Box::new(agent(1, 1)), Proof::Missing), 6);
    assert_eq!(again, Ok(1), "the same agent again");
    // A computer that got another name.
    let renamed = Agent { computer: "renamed".into(), ..agent(1, 1) };
    assert_eq!(register(&mut state, renamed), Ok(1));
    assert!(state.find("certificate-1").is_some_and(|agent| &*agent.computer == "renamed" && !agent.is_confirmed));
}

#[test]
fn a_certificate_that_was_renewed_within_a_second_or_after_the_clock_went_back_is_the_newer_one() {
    for [first, second] in [[100, 100], [100, 50]] {
        let mut state = State::default();
        register(&mut state, Agent { registered_s: first, ..agent(1, 1) }).expect("there is room");
        register(&mut state, Agent { registered_s: second, ..agent(1, 2) }).expect("there is room");
        state.apply(Change::Seen("certificate-1".into(), 5), 5).expect("it is known");
        assert_eq!(certificates(&state), ["certificate-1", "certificate-2"], "the old one is used once more");
        state.apply(Change::Seen("certificate-2".into(), 6), 6).expect("it is known");
        assert_eq!(certificates(&state), ["certificate-2"]);
    }
}
