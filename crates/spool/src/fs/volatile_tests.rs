use super::*;

fn read(disk: &VolatileFs, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&Path::new("d").join(name), Access::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn a_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (mut kept, mut gone) = (0, 0);
    for seed in 0..60 {
        let disk = VolatileFs::default();
        disk.create_dir(Path::new("d")).unwrap();
        let file = disk.create(Path::new("d/a"), 1024).unwrap();
        file.write_all_at(&[1; 1024], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        file.write_all_at(&[2; 1024], 0).unwrap();
        disk.rename(Path::new("d/a"), Path::new("d/b")).unwrap();
        let left = disk.cut(&mut fastrand::Rng::with_seed(seed));
        assert!(file.write_all_at(&[3], 0).is_err() && !disk.is_on() && left.is_on());
        let bytes = read(&left, "a").or_else(|| read(&left, "b")).expect("under one of its names");
        assert!(bytes.chunks(SECTOR).all(|sector| sector == [1; SECTOR] || sector == [2; SECTOR]));
        kept += usize::from(bytes == [2; 1024]);
        gone += usize::from(bytes == [1; 1024] && read(&left, "a").is_some());
    }
    assert!(kept > 5 && gone > 5, "{kept} {gone}");
}

#[test]
fn the_power_goes_off_at_the_change_it_is_told_and_a_kill_loses_nothing() {
    let disk = VolatileFs::default();
    disk.create_dir(Path::new("d")).unwrap();
    let file = disk.create(Path::new("d/a"), 1).unwrap();
    disk.cut_after(1);
    file.write_all_at(&[7], 0).unwrap();
    assert!(file.sync_data().is_err() && disk.while_on(|| ()).is_none());
    assert_eq!(read(&disk.kill(), "a"), Some(vec![7]));
}
