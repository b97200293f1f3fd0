use nflib::{
    Burst, Counter, Nf, Setup, SetupError,
    filter::{Expr, FlowRules},
};

const VERDICTS: [&str; 2] = ["accept", "drop"];
const DROP: usize = 1;

struct Gate {
    only: Option<Expr>,
    rules: FlowRules,
    /// One a rule.
    met: Vec<Counter>,
}

impl Nf for Gate {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let rules = setup.params.rules("rules", &VERDICTS)?;
        let met = rules.iter().map(|rule| setup.counter(&rule.name));
        Ok(Self {
            met: met.collect::<Result<_, _>>()?,
            only: setup.params.optional_filter("only")?,
            rules: FlowRules::new(rules),
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            if self.only.as_ref().is_some_and(|only| !packet.matches(only)) {
                continue;
            }
            let Some(number) = packet.first(&mut self.rules) else {
                continue;
            };
            self.met[number].add(1);
            if self
                .rules
                .rules()
                .get(number)
                .is_some_and(|rule| rule.verdict == DROP)
            {
                packet.drop();
            }
        }
    }
}
