"""What one settlement of the calibrated economy did, and how it left the market.

flows, money per settlement [L], named by their reason, at least 0 (see `Ledger` rows): log_tax and profit (moved between
experts), wealth_tax, idle_tax, venture_grant, venture_vest, floor, qe (moved or, with elastic money, created), qt_burn.
Of critics, in purse money: critic_score (net, either sign), critic_repay, critic_bailout.
residual: closing - opening - minted + burned, as a share of M. purse_residual: the same of purses, purse money.

metrics, [L] unless said otherwise:
  capital_share [L,E]; gini; frac_at_floor; money: sum C; treasury; vc_book: grants not yet vested; minted, burned: money
  since the start; profit_flow: sum |dC| by profit, money; selected_share [L,E]: share of the window's tokens won.
  credit [L,E]: V_e, nats per served token; credit_error [L,E]: its standard error; merit [L,E]: pi_e.
  spearman_credit, spearman_load: rank correlation over experts of capital with V_e and with the window's load, 0 where
  undefined. gain: of merit in capital.
  theta: nats per unit of bid; market_efficiency: correlation of theta (b - p) with the value; price_value_correlation:
  of theta p with it.
  alpha; agreement: share of tokens; agreement_kappa: beyond chance; gate_deviation: s_z.
  congestion_price [L,E]: lambda_e, bids; compute_price: mu, bids per kappa; flops_ratio: FLOPs per token over budget.
  holdout_gain: loss without minus with the market since the start, covariate-adjusted, nats per token;
  holdout_error: its standard error; holdout_sequences: held out so far; holdout_tau: standardised, over the horizon.
  baseline: mean token loss over the horizon; difficulty_r2.
  critic_purse, critic_debt (K0 = 1), critic_bailouts (count), critic_score: S before clipping, nats.
"""
