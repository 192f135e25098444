//! Any file against any server: what was applied is settled, whatever was there before and wherever an apply was cut off.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    model::{FAULTS, Fault, Model, block_on, look, run},
    *,
};
use crate::mirror::NoHandover;

/// A schedule of the file, and what is at the server around it.
#[derive(Debug, Clone)]
struct One {
    wanted: Option<String>,
    copies: Vec<(String, Option<String>)>,
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn ones() -> impl Strategy<Value = Vec<One>> {
    let wanted = (1..3, 8..10, any::<(bool, bool)>()).prop_map(|(workflow, hour, (server, enabled))| {
        let fires = if server { "server" } else { "local" };
        format!("{workflow} 0 {hour} * * *; fires = \"{fires}\"; enabled = {enabled}")
    });
    let marker = prop_oneof![4 => Just("main"), 1 => Just("other"), 1 => Just("")];
    // A copy, and whether the history knows it: not, as it is, or as it was before somebody changed it.
    let copy = (1..3, 8..10, marker, any::<bool>(), 0..3_usize, 1..100_u32);
    let copy = copy.prop_map(|(workflow, hour, marker, on, known, age)| {
        let on = if on { "; on" } else { "" };
        // A row is from this installation: one with another's marker was taken over by that.
        let text = |hour: i32, marker: &str| match marker {
            "" => format!("{workflow} 0 {hour} * * *; age={age}{on}"),
            marker => format!("{workflow} 0 {hour} * * *; age={age}; marker={marker}/ID{on}"),
        };
        let row = |hour| Some(text(hour, if marker == "main" { "main" } else { "" }));
        (text(hour, marker), [None, row(hour), row(17 - hour)][known].clone())
    });
    let one = (proptest::option::weighted(0.8, wanted), proptest::collection::vec(copy, 0..3));
    proptest::collection::vec(one.prop_map(|(wanted, copies)| One { wanted, copies }), IDS.len())
}

/// The file, the server and its rows.
fn world(ones: &[One]) -> (Vec<Arc<Schedule>>, Model) {
    let (mut wanted, mut server, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (id, one) in IDS.iter().zip(ones) {
        wanted.extend(one.wanted.as_ref().map(|text| format!("{id} {text}")));
        for (number, (copy, row)) in one.copies.iter().enumerate() {
            server.push(format!("wfs_{id}{number} {}", copy.replace("ID", id)));
            rows.extend(row.as_ref().map(|row| format!("wfs_{id}{number} {} => {id}", row.replace("ID", id))));
        }
    }
    (file(&strs(&wanted)), Model::new(&strs(&server), &strs(&rows)))
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// What is at the server and not ours: without our marker and without a row.
fn others(model: &Model) -> BTreeMap<String, ServerSchedule> {
    let state = model.state();
    let ours = |copy: &&ServerSchedule| {
        let marker = Marker::find(copy.description.as_deref());
        state.rows.contains_key(&copy.id) || marker.is_some_and(|marker| marker.instance == instance())
    };
    state.schedules.iter().filter(|copy| !ours(copy)).map(|copy| (copy.id.to_string(), copy.clone())).collect()
}

/// Whatever is there before, two applies settle it (the second one, what the first could not see), and others' stay.
fn check(ones: &[One], prune: bool, fault: Option<(usize, Fault)>) -> Result<(), TestCaseError> {
    let (wanted, model) = world(ones);
    let before = others(&model);
    model.state().fault = fault;
    block_on(run(&model, &wanted, prune, &NoHandover));
    {
        let mut state = model.state();
        (state.dead, state.fault) = (false, None);
    }
    block_on(run(&model, &wanted, prune, &NoHandover));
    block_on(run(&model, &wanted, prune, &NoHandover));
    let plan = block_on(look(&model, &wanted, prune));
    prop_assert!(plan.steps.is_empty() && plan.claims.is_empty(), "{:#?}", lines(&plan));
    let told_of = |id: &ScheduleId| plan.remarks.iter().any(|r| r.kind.is_trouble() && r.schedule.as_ref() == Some(id));
    for blocked in &plan.blocked {
        prop_assert!(told_of(&blocked.schedule), "{:#?}", lines(&plan));
    }
    for schedule in &wanted {
        let current: Vec<_> = plan.copies.iter().filter(|copy| copy.current && copy.schedule == schedule.id).collect();
        prop_assert_eq!(current.len(), 1, "{}", &schedule.id);
        let fires = schedule.enabled && schedule.policies.fires.word() == "server";
        let blocked = plan.blocked.iter().any(|blocked| blocked.schedule == schedule.id);
        prop_assert_eq!(current[0].enabled, fires && !blocked, "{}", &schedule.id);
        prop_assert!(current[0].content.differences(&Content::of_file(schedule, fires), now()).is_empty());
    }
    // Of what is not the copy of anything, nothing fires but what nobody can say is ours, and that is told.
    for copy in plan.copies.iter().filter(|copy| !copy.current) {
        prop_assert!(!copy.enabled && !prune, "{:?}", copy);
    }
    let told = plan.remarks.iter().filter(|remark| remark.kind.is_trouble()).count();
    let state = model.state();
    let unclaimed = state.schedules.iter().filter(|copy| {
        let marker = Marker::find(copy.description.as_deref());
        marker.is_some_and(|marker| marker.instance == instance())
            && !plan.copies.iter().any(|known| known.copy.id == copy.id)
    });
    prop_assert_eq!(unclaimed.count(), told);
    drop(state);
    let after = others(&model);
    for (id, copy) in before {
        prop_assert_eq!(after.get(&id), Some(&copy), "{} was touched", id);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_file_against_any_server(ones in ones(), prune: bool) {
        check(&ones, prune, None)?;
    }

    #[test]
    fn and_cut_off_anywhere(ones in ones(), prune: bool, at in 1..40_usize, fault in proptest::sample::select(&FAULTS[..])) {
        check(&ones, prune, Some((at, fault)))?;
    }
}
