//! Exit codes: a contract with scripts, after `sysexits.h` where that has a fitting one.

use std::process::ExitCode;

use crate::control::client::CallError;
use crate::control::protocol::Outcome;

/// What the program exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; for `connect`, every byte arrived.
    Clean,
    /// 1: failed while running.
    Failed,
    /// 64: the command line is wrong.
    Usage,
    /// 69: no daemon to talk to.
    NoDaemon,
    /// 70: a bug; the core died.
    Bug,
    /// 76: the connection was cut; bytes may be missing.
    Cut,
    /// 78: the configuration or a key is wrong.
    Config,
    /// 129: ended by SIGHUP.
    HungUp,
    /// What the daemon said about a channel that could not be opened: 68, 75, 77, 111, 113 and the like.
    Told(u8),
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::NoDaemon => 69,
            Self::Bug => 70,
            Self::Cut => 76,
            Self::Config => 78,
            Self::HungUp => 129,
            Self::Told(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::Clean,
            Outcome::Cut => Self::Cut,
        }
    }
}

/// A command that did not do what it was asked, with a text for the person who asked.
#[derive(Debug)]
pub struct Failure {
    /// What to exit with.
    pub exit: Exit,
    /// What went wrong and what to do; without the program's name.
    pub message: String,
}

impl Failure {
    /// A failure with its text.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// A failure of the configuration or of a key file (78).
    pub fn config(error: impl ToString) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = match &error {
            CallError::NoDaemon(_) | CallError::Io(..) => Exit::NoDaemon,
            CallError::Refused(_) | CallError::Nonsense(_) => Exit::Failed,
            CallError::Failed { exit, .. } => Exit::Told(*exit),
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Response;
    use crate::wire::failure::OpenFailure;

    #[test]
    fn connect_exits_as_the_contract_says() {
        let exit = |failure: OpenFailure| {
            let Response::Failed { exit, message, .. } = Response::from(failure) else {
                panic!("a failure was expected");
            };
            Failure::from(CallError::Failed { exit, message })
                .exit
                .code()
        };
        assert_eq!(exit(OpenFailure::UnknownName), 68);
        assert_eq!(exit(OpenFailure::TimedOut), 75);
        assert_eq!(exit(OpenFailure::NoPath), 75);
        assert_eq!(exit(OpenFailure::Limit), 75);
        assert_eq!(exit(OpenFailure::Cut), 76);
        assert_eq!(exit(OpenFailure::Denied), 77);
        assert_eq!(exit(OpenFailure::Refused), 111);
        assert_eq!(exit(OpenFailure::NetworkUnreachable), 113);
        assert_eq!(exit(OpenFailure::HostUnreachable), 113);
        assert_eq!(Exit::from(Outcome::Clean).code(), 0);
        assert_eq!(Exit::from(Outcome::Cut).code(), 76);
        assert_eq!(Exit::Usage.code(), 64);
        assert_eq!(Exit::Config.code(), 78);
        let nobody = CallError::NoDaemon("/x".to_owned());
        assert_eq!(Failure::from(nobody).exit.code(), 69);
    }
}
