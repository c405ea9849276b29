//! The main job, end to end: SRPMs dropped into a folder come back as an installable repository.
//!
//! Owns the scenarios in which nothing goes wrong but packages themselves.

use moji_tests::{Farm, SOON};

#[test]
fn pkgb_dropped_first_is_built_once_pkga_is_published_and_dnf_installs_it() {
    let farm = Farm::plan().builders(1).start();
    farm.drop_srpm("pkgb");
    farm.wait_hub_says("pkga(api)");
    farm.drop_srpm("pkga");
    farm.wait_finished("pkga");
    farm.wait_finished("pkgb");
    farm.wait_until("both to be published", SOON, |farm| farm.install(&["pkgb"]).is_ok());
    assert_eq!(farm.result_json("pkga-1.0-1")["verdict"], "success");
    assert_eq!(farm.result_json("pkgb-1.0-1")["verdict"], "success");
    farm.assert_one_place("pkga");
    farm.assert_one_place("pkgb");
}
