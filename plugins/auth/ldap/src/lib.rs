//! The auth policy `ldap`: the people of the site's directory, and of the machine's own accounts only those
//! that the site names.

pub mod directory;
pub mod groups;
pub mod people;
pub mod policy;
pub mod settings;

berth_policy_sdk::export_auth!(policy::Ldap);
