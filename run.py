"""Train, evaluate or sample a CaMoE: python run.py [GROUP=OPTION ...] [SETTING=VALUE ...]; see --help."""

import hydra

from camoe.config import RunConfig
from camoe.config.command_line import refuse_in_one_line, typed
from camoe.config.command_record import CommandRecord


@refuse_in_one_line
@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@typed
def main(config: RunConfig, command: CommandRecord) -> None:
    """Hands the checked settings to the chosen job."""
    from camoe.jobs import run_job  # brings torch with it

    run_job(config, command)


if __name__ == "__main__":
    main()
