"""Metrics of markets and critics. "calibrated" marks those of `economy=calibrated` alone."""

from __future__ import annotations

from camoe.tracking.metric_definition import BY_EXPERT, HEADLINE, LAYERED, MetricDefinition, room

_FLOWS = (  # of capital, mean over the settlements of the window
    ("profit", "the experts' profits, net; calibrated: what profit moved from expert to expert", "any"),
    ("profit_flow", "sum_e |profit_e|", "0.."),
    ("taxes", "wealth_tax + idle_tax", "0.."),
    ("wealth_tax", "progressive tax taken", "0.."),
    ("idle_tax", "tax taken from idle experts", "0.."),
    ("depreciation", "capital written off", "0.."),
    ("qe_inject", "QE: money injected because sum C was low", "0.."),
    ("qe_drain", "QT: money drained because sum C was high", "0.."),
    ("floor_mint", "money created by lifting experts to the floor", "0.."),
    ("vc_inject", "VC: venture capital granted", "0.."),
    ("shrinkage", "v18: money destroyed by scaling capital back", "0.."),
    ("lift", "v18: money given to every expert of a poor layer", "0.."),
    ("minted", "qe_inject + floor_mint + vc_inject + lift", "0.."),
    ("burned", "taxes + depreciation + qe_drain + shrinkage", "0.."),
    ("log_tax", "calibrated: moved between experts by the tax on log wealth", "0.."),
    ("floor", "calibrated: moved between experts by the floor", "0.."),
    ("venture_grant", "calibrated: granted by the treasury to idle experts", "0.."),
    ("venture_vest", "calibrated: grants that became capital", "0.."),
    ("qe", "calibrated: moved between experts by the bank or, with elastic money, created", "0.."),
    ("qt_burn", "calibrated, elastic money: destroyed by the bank", "0.."),
)
_EXPERIMENTS = (  # of the calibrated market on itself; one number for all layers
    ("holdout_gain", "what the market is worth: loss without minus with it, since the start", "nats/token", "any"),
    ("holdout_low", "lower end of its 95 % interval, holdout_gain - 1.96 holdout_error", "nats/token", "any"),
    ("holdout_high", "upper end", "nats/token", "any"),
    ("holdout_error", "standard error of holdout_gain, by sequences, difficulty as covariate", "nats/token", "0.."),
    ("holdout_tau", "gain over standard error, over the horizon of alpha", "1", "any"),
    ("holdout_sequences", "effective number of sequences routed without the market so far", "sequences", "0.."),
)
_CREDIT = (  # calibrated: is the market right?
    ("credit", "V_e, what the expert saves the loss per token it serves", "nats/token", "any", (BY_EXPERT,)),
    ("credit_error", "standard error of V_e", "nats/token", "0..", (BY_EXPERT,)),
    ("merit", "pi_e, shrunk and standardised credit after prices", "1", "any", (BY_EXPERT,)),
    ("reliability", "share of the variance of profit between experts that is no error", "1", "0..1", LAYERED),
    ("spearman_load", "rank correlation over experts of capital and load", "1", "-1..1", LAYERED),
    ("gain", "growth of log capital per unit of merit", "1", "0..", LAYERED),
    ("theta", "nats per unit of bid", "nats/logit", "0..", LAYERED),
    ("price_value_correlation", "correlation of the price in nats and the measured value", "1", "-1..1", LAYERED),
    ("agreement_kappa", "agreement beyond chance, 0 where one is constant", "1", "-1..1", LAYERED),
)
_TOLLS = (  # calibrated
    ("gate_deviation", "s_z, deviation over experts of what bids add to, over the horizon", "logits", "0..", LAYERED),
    ("congestion_price", "lambda_e, subtracted from every bid of the expert", "logits", "any", (BY_EXPERT,)),
    ("congestion_spread", "largest minus smallest congestion price", "logits", "0..", LAYERED),
    ("compute_price", "mu, subtracted from bids per FLOPs relative to the mean expert", "logits", "0..", LAYERED),
    ("flops_ratio", "FLOPs per token over the budget", "1", "0.."),
)
MARKET = room(
    "market",
    ("alpha", "MarketAlpha, strength of the market in the election", "1", "alpha_min..alpha_max", LAYERED),
    ("bias_std", "mean_t standard deviation of the market's bias over experts", "logits", "0..", LAYERED),
    ("bias_spread", "mean_t largest minus smallest bias", "logits", "0..", LAYERED),
    ("market_flip_rate", "share of tokens whose top-k of z differs from that of z + bias", "1", "0..1", HEADLINE),
    ("price_mean", "mean_t Vickrey price, the (k+1)-th bid", "logits", "any", LAYERED),
    ("surplus_mean", "mean over assignments of the winner's adjusted logit minus the price", "logits", "any", LAYERED),
    ("agreement", "share of tokens whose gate and market have the same favourite expert", "1", "0..1", LAYERED),
    ("capital_share", "C_e / sum C", "1", "0..1", (BY_EXPERT,)),
    ("gini", "Gini coefficient of C_e", "1", "0..(E-1)/E", HEADLINE),
    ("capital_entropy", "H(capital_share) / log E", "1", "0..1", LAYERED),
    ("top_share", "largest capital share", "1", "1/E..1", HEADLINE),
    ("frac_at_floor", "share of experts whose capital is at the floor", "1", "0..1", LAYERED),
    ("money_total", "sum_e C_e", "money", "0..", LAYERED),
    ("treasury", "calibrated: taxes not yet granted", "money", "0..", LAYERED),
    ("vc_book", "calibrated: grants not yet vested", "money", "0..", LAYERED),
    ("minted_total", "calibrated: money created since the start", "money", "0..", LAYERED),
    ("burned_total", "calibrated: money destroyed since the start", "money", "0..", LAYERED),
    ("asset_velocity", "AssetVelocity: EMA of sum_e |profit_e| over sum C", "1/settlement", "0..", LAYERED),
    ("baseline", "running mean of the token loss that profit is measured against", "nats/token", "any", LAYERED),
    ("selected_share", "share of the window's tokens that the expert won", "1", "0..1", (BY_EXPERT,)),
    *((name, meaning, "money/settlement", size, LAYERED) for name, meaning, size in _FLOWS),
    (
        "ledger_residual",
        "largest |closing - opening - flows| of the window, over the larger of M and sum_e C_e; 0 up to rounding",
        "1",
        "0..",
        HEADLINE,
    ),
    *_EXPERIMENTS,
    *_CREDIT,
    *_TOLLS,
) + [
    MetricDefinition(f"market/{name}", meaning, "1", "-1..1", HEADLINE, worst="min")
    for name, meaning in (
        (
            "efficiency",
            "market efficiency: correlation of theta (bid - price), the forecast externality, with the measured one",
        ),
        ("spearman_credit", "rank correlation over experts of capital and credit V_e"),
    )
]
CRITIC = room(
    "critic",
    ("purse", "capital K of the critic; calibrated: in units of K0, as all of its money", "money", "0..3 K0", LAYERED),
    ("debt", "what the critic owes for bailouts", "money", "0..", LAYERED),
    ("bailouts", "bailouts since the start", "count", "0..", LAYERED),
    ("accuracy", "running share of positions that were right", "1", "0..1", LAYERED),
    ("profit", "revenue minus stakes", "money/settlement", "any", LAYERED),
    ("clamp", "money created or confiscated by the purse's limits", "money/settlement", "any", LAYERED),
    ("earned", "calibrated: what the purse gained by its score, net", "money/settlement", "any", LAYERED),
    ("score", "calibrated: log score of the forecast beyond the market's own, before clipping", "nats", "any", LAYERED),
    ("difficulty_r2", "calibrated: share of the loss's variance that the critic foretells", "1", "..1", LAYERED),
    ("repay", "debt repaid", "money/settlement", "0..", LAYERED),
    ("bailout", "bailout money paid", "money/settlement", "0..", LAYERED),
    ("purse_residual", "largest |closing - opening - flows| of the purses, money", "money", "0..", LAYERED),
)
