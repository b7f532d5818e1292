//! The order of versions of a choice and of a lease.

use crate::domain::input::Rejection;
use std::cmp::Ordering;

/// Versions only grow: `seen` is the highest one that ever came; it counts even if its message is lost.
///
/// # Errors
/// A version that is known must say what it said before.
pub(super) fn compare<T: PartialEq>(
    newest: Option<&T>,
    seen: u64,
    offered: &T,
    version: impl Fn(&T) -> u64,
) -> Result<Ordering, Rejection> {
    let newest = newest.filter(|newest| version(newest) >= version(offered));
    if newest.is_none() && version(offered) < seen {
        return Ok(Ordering::Less);
    }
    let Some(newest) = newest else { return Ok(Ordering::Greater) };
    let order = version(offered).cmp(&version(newest));
    let conflicts = order == Ordering::Equal && offered != newest;
    if conflicts { Err(Rejection::ConflictingVersion) } else { Ok(order) }
}
