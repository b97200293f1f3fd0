//! Takes new parameters while it runs, or does what its parameter `how` says if it is the instance `at`: refuse, not support them, hang, end.

use nflib::{Burst, Counter, Gauge, Nf, Params, Reconfigured, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Tuned {
    instance: i64,
    value: Gauge,
    /// How often it has taken others.
    taken: Counter,
}

impl Nf for Tuned {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let (_, number) = setup.instance().rsplit_once('-').unwrap_or_default();
        let tuned = Self {
            instance: number.parse().unwrap_or(-1),
            value: setup.gauge("value")?,
            taken: setup.counter("taken")?,
        };
        tuned.value.set(setup.params.get("value")?);
        Ok(tuned)
    }

    fn process(&mut self, _: &mut Burst<'_>) {}

    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let how: String = params.get("how")?;
        match how.as_str() {
            _ if params.get::<i64>("at")? != self.instance => {}
            "refuse" => return Err(SetupError::Other("its hands are full\u{7}".to_owned())),
            "not" => return Ok(Reconfigured::Unsupported),
            "hang" => loop {
                std::thread::park();
            },
            "end" => std::process::exit(3),
            _ => {}
        }
        self.value.set(params.get("value")?);
        self.taken.add(1);
        Ok(Reconfigured::Done)
    }
}
