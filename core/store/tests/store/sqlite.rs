//! The SQLite store does what every store has to.

use std::path::PathBuf;

use crate::suite::Kit;
use berth_store::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

struct Sqlite {
    _folder: TempDir,
    path: PathBuf,
}

impl Kit for Sqlite {
    type Store = SqliteStore;

    fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("berth.db");
        Self { _folder: folder, path }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path, "berth", &SqliteOptions::default()).unwrap()
    }
}

crate::claims!(Sqlite:
    a_refused_batch_leaves_nothing,
    the_last_update_of_a_batch_counts_and_every_event,
    a_job_that_runs_again_is_live_again,
    only_what_has_ended_is_archived_and_each_once,
    what_has_ended_is_to_be_measured_until_it_was_and_again_after_each_run,
    the_directories_of_what_was_archived_are_gone_whatever_was_noted,
    use_that_no_quota_counts_any_more_goes_at_a_start,
    what_is_closed_is_so_after_an_opening_and_what_was_opened_is_not,
    where_jobs_failed_is_kept_and_tasks_avoid_it_as_their_array_says,
    tasks_of_an_earlier_run_do_not_count,
    tasks_are_found_before_their_turn,
    a_listing_can_be_stopped,
    tokens_are_kept_used_and_revoked,
    a_session_ends_when_nobody_uses_it_and_when_it_has_lasted_long_enough,
    a_changed_password_ends_the_sessions_of_its_user_and_nothing_else,
    a_guest_waits_is_let_in_and_no_longer_and_is_forgotten,
    only_so_many_guests_wait_and_those_let_in_do_not_count,
    a_guest_who_may_no_longer_has_no_token_left,
    a_policy_keeps_what_it_may_and_sees_only_its_own,
    what_is_owed_is_kept_until_it_is_settled_and_taken_in_its_order,
    what_people_want_to_be_told_is_kept,
    readers_see_whole_batches_while_they_are_written,
);

#[test]
fn what_is_written_is_read() {
    crate::suite::random::what_is_written_is_read::<Sqlite>();
}
