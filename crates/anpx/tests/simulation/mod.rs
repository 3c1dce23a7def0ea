//! The simulation behind `two_sessions`.

mod actor;
mod body;
mod monitor;
mod plan;
mod rng;
mod world;

use anpx::{ResetCode, StreamError, session::Role};

pub(crate) use self::plan::Shape;
use self::{
    actor::Outcome,
    plan::{AppBreak, Exchange, Leave, Plan},
    rng::Rng,
    world::World,
};

const ROLES: [Role; 2] = [Role::Gateway, Role::Receiver];

fn role_index(role: Role) -> usize {
    match role {
        Role::Gateway => 0,
        Role::Receiver => 1,
    }
}

/// Names the seed of a run that fails.
struct SeedOnPanic(Shape, u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failing run: {:?}, ANPX_SEED={}", self.0, self.1);
        }
    }
}

/// One run.
pub(crate) fn run(shape: Shape, seed: u64) {
    let _guard = SeedOnPanic(shape, seed);
    let plan = Plan::draw(shape, &mut Rng::new(seed));
    if std::env::var_os("ANPX_SEED").is_some() {
        println!("{plan:#?}");
    }
    let mut world = World::new(plan);
    world.run();
    world.check_end();
    let refusable = world
        .plan
        .exchanges
        .iter()
        .any(Exchange::may_hold_its_place);
    for (index, exchange) in world.plan.exchanges.iter().enumerate() {
        let (caller, app) = world.outcomes(index);
        let check = Check {
            exchange,
            caller,
            app,
            refusable,
            disconnected: world.disconnected,
        };
        assert!(
            check.holds(),
            "exchange {index}: {caller:?} {app:?} of {exchange:?}"
        );
    }
}

/// Whether what both applications saw of an exchange fits together.
struct Check<'a> {
    exchange: &'a Exchange,
    caller: Outcome,
    app: Option<Outcome>,
    /// Some stream may have held a place at the receiver while the gateway opened the next.
    refusable: bool,
    disconnected: bool,
}

impl Check<'_> {
    fn holds(&self) -> bool {
        self.caller_holds() && self.app_holds()
    }

    fn caller_holds(&self) -> bool {
        use Outcome::{Complete, Failed, Left, NotOpened};
        match self.caller {
            NotOpened => self.app.is_none(),
            // Whole for the caller: the app sent all of it, whatever it then did.
            Complete => self.app.is_some(),
            Left => matches!(self.exchange.leave, Leave::At(..)),
            Failed(StreamError::SessionEnded { written }) => {
                self.disconnected && (written || self.app.is_none())
            }
            Failed(StreamError::Reset(ResetCode::REFUSED)) => {
                let by_app = self.breaks_with(ResetCode::REFUSED);
                by_app || self.refusable && self.app.is_none()
            }
            Failed(StreamError::Reset(code)) => self.breaks_with(code),
        }
    }

    fn app_holds(&self) -> bool {
        use Outcome::{Complete, Failed, Left, NotOpened};
        match self.app {
            None | Some(Complete) => true,
            Some(NotOpened) => false,
            Some(Left) => self.exchange.app_breaks.is_some(),
            Some(Failed(StreamError::SessionEnded { .. })) => self.disconnected,
            Some(Failed(StreamError::Reset(code))) => match self.exchange.leave {
                Leave::At(_, expected) => code == expected.unwrap_or(ResetCode::CANCELLED),
                Leave::AfterResponse => code == ResetCode::CANCELLED,
                Leave::Never => false,
            },
        }
    }

    fn breaks_with(&self, code: ResetCode) -> bool {
        self.exchange.app_breaks.is_some_and(|(when, c)| {
            c == code && (when == AppBreak::AtAccept || self.app.is_some())
        })
    }
}
