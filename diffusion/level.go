package diffusion

import "math"

// Level is a place between noise and data: x = Alpha*x_0 + Sigma*noise, with noise standard normal.
// Models that predict noise have Alpha^2 + Sigma^2 = 1, flow models Alpha + Sigma = 1; solvers need
// neither.
type Level struct {
	Alpha, Sigma float64
}

// clean is the level of data.
var clean = Level{Alpha: 1}

// LogSNR returns log(Alpha/Sigma), half the logarithm of the signal-to-noise ratio: lambda of the
// DPM-Solver papers. It is +Inf where there is no noise.
func (l Level) LogSNR() float64 { return math.Log(l.Alpha / l.Sigma) }

// ratio is the noise relative to the signal: what the papers that work on x/Alpha call sigma.
func (l Level) ratio() float64 { return l.Sigma / l.Alpha }

// levelAt returns the level of an alpha-bar.
func levelAt(alphaCumprod float64) Level {
	return Level{Alpha: math.Sqrt(alphaCumprod), Sigma: math.Sqrt(1 - alphaCumprod)}
}

// levelOfRatio returns the variance-preserving level of a noise-to-signal ratio.
func levelOfRatio(ratio float64) Level {
	alpha := 1 / math.Sqrt(1+ratio*ratio)
	return Level{Alpha: alpha, Sigma: ratio * alpha}
}

// levelOfLogSNR returns the variance-preserving level of a log-SNR.
func levelOfLogSNR(lambda float64) Level { return levelOfRatio(math.Exp(-lambda)) }
