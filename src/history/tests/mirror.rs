//! What is ours at the server: written, replaced, forgotten, and read while it is written.

use super::*;
use crate::{
    engine::change::MirrorCopy,
    ids::{Instance, ServerScheduleId},
};

fn copy(server_id: &str, schedule: &str, applied: &str) -> MirrorCopy {
    MirrorCopy {
        server_schedule_id: ServerScheduleId::new(server_id).unwrap(),
        instance: Instance::new("main").unwrap(),
        schedule: id(schedule),
        workflow_id: workflow(),
        applied: applied.to_owned(),
    }
}

#[test]
fn copies_are_replaced_by_their_id_and_forgotten() {
    let mirrored = |copy: &MirrorCopy| Change::Mirrored { copy: Box::new(copy.clone()), at: at("13:00:00") };
    let (first, second) = (copy("wfs_1", "daily", "{}"), copy("wfs_2", "daily", "{}"));
    let (dir, mut store) = stored(&[mirrored(&first), mirrored(&second)]);
    assert_eq!(store.mirror().unwrap(), [first.clone(), second.clone()], "a schedule may have two");

    let changed = copy("wfs_1", "weekly", r#"{"enabled":true}"#);
    store.apply(&[mirrored(&changed)]).unwrap();
    assert_eq!(reader(&dir).mirror().unwrap(), [changed, second.clone()]);

    let gone = Change::Unmirrored { server_schedule_id: first.server_schedule_id, at: at("13:00:01") };
    store.apply(&[gone.clone(), gone]).unwrap();
    assert_eq!(reader(&dir).mirror().unwrap(), [second]);
}

#[test]
fn what_the_mirror_writes_is_json() {
    let (_dir, mut store) = stored(&[]);
    let broken = Change::Mirrored { copy: Box::new(copy("wfs_1", "daily", "{")), at: at("13:00:00") };
    assert!(store.apply(&[broken]).is_err());
    assert_eq!(store.mirror().unwrap(), []);
}
