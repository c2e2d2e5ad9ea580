package diffusion

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/tokencache/tokencache/internal/spelling"
)

// RNG names a source of random numbers.
type RNG string

const (
	RNGOwn   RNG = "own"       // a stream for each image: image i of a seed is the same in any batch
	RNGTorch RNG = "torch-cpu" // PyTorch's generator for CPUs, for whole batches as in DiT's sampling loop
)

// DefaultSteps is the number of steps where a Sampling does not say.
const DefaultSteps = 50

// Sampling is how images are sampled: with the weights, the policy, the seed and the class, all
// that an image depends on. Zero values mean what their comments say; WithDefaults fills them in.
type Sampling struct {
	// Sampler is one of Methods; "" means ddim.
	Sampler string `json:"sampler"`
	// Steps is the number of denoising steps; 0 means DefaultSteps, and 250 for ode and sde. heun,
	// pndm and ode evaluate the network more often, see Sampler.Steps; ode's dopri5 chooses its
	// steps itself. learned has tables for few numbers of steps, whose
	// timesteps are its own: see LearnedSolver.
	Steps int `json:"steps"`
	// Spacing says which timesteps the steps visit: "" spreads them evenly, "ddim" takes every k-th
	// timestep for the one whole k that fits, and a list such as "10,15,20" divides the schedule
	// into equal sections with as many steps each; Steps is then their sum. See Space.
	//
	// Or it is one of Spacings. Those of diffusers, with its rounding: linspace, leading and
	// trailing of timesteps, karras, exponential, lu and beta of noise levels, which for euler,
	// euler_a, heun and lms may span less than all of them: "leading+karras" spans the levels of
	// leading. Ours: logsnr, even in log-SNR, and quadratic, even in the root of the timestep, both
	// with real timesteps.
	Spacing string `json:"spacing,omitempty"`
	// Eta is the noise that ddim adds at each step: 0 none, 1 as much as ddpm.
	Eta float64 `json:"eta,omitempty"`

	// Order is the order of dpm++, dpm, unipc, deis (1 to 3; 0 means 2), sde-dpm++ (likewise),
	// sde-dpm (1 or 2; 0 means 2) and lms (1 to 4; 0 means 4).
	Order int `json:"order,omitempty"`
	// Variant is midpoint or heun for the second order of dpm++, dpm and their sde forms, bh2 or
	// bh1 for unipc, plms or prk for pndm, deterministic or stochastic for euler (which draws all noise anew
	// at each step), dopri5, euler, heun, midpoint, heun3 or rk4 for ode, euler or heun for sde; ""
	// means the first of these.
	Variant string `json:"variant,omitempty"`
	// Predict is what unipc extrapolates: PredictX0, which "" means, or PredictEps.
	Predict string `json:"predict,omitempty"`
	// Final is where the last step ends: FinalZero, which "" means, or FinalSigmaMin. With the
	// latter a spacing that evaluates at timestep 0 has a last step that changes nothing.
	Final string `json:"final,omitempty"`
	// NoLowerOrderFinal keeps the order of the last steps, which otherwise falls to 1: unipc's
	// always, that of deis and the dpm family in runs of fewer than 15 steps.
	NoLowerOrderFinal bool `json:"no_lower_order_final,omitempty"`
	// EulerAtFinal makes the last step of the dpm family one of first order in longer runs too.
	EulerAtFinal bool `json:"euler_at_final,omitempty"`
	// DisableCorrector lists the steps, counted from 0, after which unipc does not correct, such as
	// "0,1".
	DisableCorrector string `json:"disable_corrector,omitempty"`
	// StepsOffset is added to the timesteps of the spacing leading.
	StepsOffset int `json:"steps_offset,omitempty"`

	// Shift moves the steps of a flow towards noise, u to Shift*u/(1+(Shift-1)*u) where u is the
	// timestep over 1000 (Esser et al. 2024, arXiv 2403.03206, equation 23); 0 means 1, none.
	Shift float64 `json:"shift,omitempty"`
	// Mu is the logarithm of a Shift that depends on the resolution. diffusers' linspace shifts its
	// lowest level twice by a Shift, but once by a Mu.
	Mu float64 `json:"mu,omitempty"`
	// ShiftByResolution takes Mu from the number of the network's tokens: see ResolutionMu.
	ShiftByResolution bool `json:"shift_by_resolution,omitempty"`
	// ShiftTerminal stretches a flow's steps so that the last evaluates at this level of noise; 0
	// does not.
	ShiftTerminal float64 `json:"shift_terminal,omitempty"`

	// Form is how much noise sde adds while it goes, one of Forms; "" means sigma.
	Form string `json:"diffusion_form,omitempty"`
	// FormScale multiplies it; 0 means 1.
	FormScale float64 `json:"diffusion_norm,omitempty"`
	// LastStep is the last step of sde, one of LastSteps; "" means mean.
	LastStep string `json:"last_step,omitempty"`
	// LastStepSize is its length, of a run of length 1; 0 means 0.04.
	LastStepSize float64 `json:"last_step_size,omitempty"`
	// SampleEps is how far ode and sde keep from t = 0 and t = 1 where noise or score are divided
	// by what is 0 there; 0 means what SiT's code takes.
	SampleEps float64 `json:"sample_eps,omitempty"`
	// AbsTol and RelTol are the tolerances of ode's dopri5; 0 means 1e-6 and 1e-3.
	AbsTol float64 `json:"atol,omitempty"`
	RelTol float64 `json:"rtol,omitempty"`

	// Guidance is the scale of classifier-free guidance; 0 and 1 mean none.
	Guidance float64 `json:"guidance,omitempty"`
	// GuidancePower lets the scale grow from 1 as the noise falls, see PowerCosine; 0 keeps it the
	// same at every step.
	GuidancePower float64 `json:"guidance_power,omitempty"`
	// GuidanceLow and GuidanceHigh bound where guidance acts, by timestep over 1000 (Kynkäänniemi et
	// al. 2024, arXiv 2404.07724): elsewhere the prediction is the one with the class. 0 and 0 mean
	// everywhere.
	GuidanceLow  float64 `json:"guidance_low,omitempty"`
	GuidanceHigh float64 `json:"guidance_high,omitempty"`
	// GuideAll guides all channels of epsilon, not only the first three as DiT's code does.
	GuideAll bool `json:"guide_all,omitempty"`
	// Clip clamps each predicted image to [-1,1], for models of pixels.
	Clip bool `json:"clip,omitempty"`

	// RNG is the source of random numbers; "" means RNGOwn.
	RNG RNG `json:"rng,omitempty"`
}

// Network is what a sampler must know of the network and of how it was trained.
type Network struct {
	// Schedule is "linear", which "" means, or "cosine", over 1000 timesteps; or that of a flow,
	// Path.Schedule.
	Schedule   string
	Prediction Prediction
	// NoiseScale is the standard deviation of a flow's noise, by which its Path's Sigma is multiplied;
	// 0: 1.
	NoiseScale float64
	// Floor, if not 0, is of a flow of LinearPath that predicts samples: the least that 1-t counts as
	// where the velocity (prediction-x)/(1-t) is read from one. MiniT2I has 0.05.
	Floor    float64
	Variance Variance
	Tokens   int // of a sample, for Sampling.ShiftByResolution
	// Learned are the network's own learned solvers. Of two for the same number of evaluations the
	// first is used, and any of them before UniversalSolvers.
	Learned []*LearnedSolver
}

// FieldError reports a setting that has no meaning.
type FieldError struct {
	Field string // of the struct, such as "Eta"
	Value any
	Want  string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %v: want %s", words(e.Field), e.Value, e.Want)
}

// words returns a field's name as people read it: "guidance power" for GuidancePower.
func words(field string) string {
	if strings.ToUpper(field) == field {
		return strings.ToLower(field)
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// ParseSteps reads steps as users write them: "50", "ddim50", "10,15,20", or a named spacing and a
// number, such as "logsnr15".
func ParseSteps(text string) (steps int, spacing string, err error) {
	if name := strings.TrimRight(text, "0123456789"); name != "" && named(name) {
		if steps, err = strconv.Atoi(text[len(name):]); err != nil || steps < 1 || steps > Timesteps {
			return 0, "", fmt.Errorf("steps %q: want %s followed by 1 to %d", abbreviate(text), name, Timesteps)
		}
		return steps, name, nil
	}
	list, err := Space(Timesteps, text)
	if err != nil {
		return 0, "", fmt.Errorf("%w%s", err, spelling.Hint(Spacings(), strings.TrimRight(text, "0123456789")))
	}
	switch {
	case strings.HasPrefix(text, strideSpacing):
		spacing = strideSpacing
	case strings.Contains(text, ","):
		spacing = text
	}
	return len(list), spacing, nil
}

// StepsText returns the steps as ParseSteps reads them.
func (s Sampling) StepsText() string {
	if s.Spacing == "" || s.Spacing == strideSpacing || named(s.Spacing) {
		return s.Spacing + strconv.Itoa(s.Steps)
	}
	return s.Spacing
}

// WithDefaults returns s with its zero values replaced by what they mean, but for the solver's
// options: of these, defaults are replaced by zero values. Settings that mean the same become
// equal.
func (s Sampling) WithDefaults() Sampling {
	if s.Sampler == "" {
		s.Sampler = "ddim"
	}
	if s.Steps == 0 && (s.Spacing == "" || s.Spacing == strideSpacing || named(s.Spacing)) {
		s.Steps = DefaultSteps
		if s.Sampler == odeName || s.Sampler == sdeName {
			s.Steps = officialFlowSteps
		}
	}
	if s.Guidance == 0 {
		s.Guidance = 1
	}
	if s.Guidance == 1 {
		s.GuidancePower, s.GuidanceLow, s.GuidanceHigh = 0, 0, 0
	}
	if s.RNG == "" {
		s.RNG = RNGOwn
	}
	return s.plain()
}

// Validate reports a setting that has no meaning for any network, as a *FieldError where it is one
// field's.
func (s Sampling) Validate() error {
	_, err := s.New(Network{})
	if err == nil || !s.forFlows() {
		return err
	}
	_, err = s.New(Network{Schedule: LinearPath.Schedule(), Prediction: PredictVelocity})
	return err
}

// forFlows tells whether s has settings that only flows have.
func (s Sampling) forFlows() bool {
	shifted := s.Shift != 0 || s.Mu != 0 || s.ShiftByResolution || s.ShiftTerminal != 0
	return shifted || s.Sampler == odeName || s.Sampler == sdeName || s.Variant == stochasticVariant
}

// checkGuidance reports settings that concern no sampler.
func (s Sampling) checkGuidance() error {
	switch {
	case !finite(s.Guidance) || s.Guidance < 0:
		return &FieldError{"Guidance", s.Guidance, "a number, 0 or more"}
	case !finite(s.GuidancePower) || s.GuidancePower < 0:
		return &FieldError{"GuidancePower", s.GuidancePower, "a number, 0 or more"}
	case !(s.GuidanceLow >= 0 && s.GuidanceLow <= 1):
		return &FieldError{"GuidanceLow", s.GuidanceLow, "0 to 1"}
	case !(s.GuidanceHigh == 0 && s.GuidanceLow == 0 || s.GuidanceHigh > s.GuidanceLow && s.GuidanceHigh <= 1):
		return &FieldError{"GuidanceHigh", s.GuidanceHigh, fmt.Sprintf("above %g, where guidance begins, up to 1", s.GuidanceLow)}
	case s.RNG != RNGOwn && s.RNG != RNGTorch:
		return &FieldError{"RNG", s.RNG, fmt.Sprintf("%s or %s", RNGOwn, RNGTorch)}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// New returns the sampler for a network. An error says which name or number is wrong and what is
// right, as a *FieldError where it is one field's.
func (s Sampling) New(n Network) (Sampler, error) {
	s = s.WithDefaults()
	schedule, err := n.Levels()
	if err != nil {
		return nil, err
	}
	if err := s.checkGuidance(); err != nil {
		return nil, err
	}
	m, ok := s.method()
	if !ok {
		want := strings.Join(Methods(), ", ") + spelling.Hint(Methods(), s.Sampler)
		return nil, &FieldError{"Sampler", abbreviate(s.Sampler), want}
	}
	if err := s.checkOptions(m); err != nil {
		return nil, err
	}
	if err := s.checkFlow(m, schedule); err != nil {
		return nil, err
	}
	if err := s.checkSteps(); err != nil {
		return nil, err
	}
	if s.ShiftByResolution {
		s.Mu = ResolutionMu(n.Tokens)
	}
	if s.published() && !schedule.IsFlow() && schedule.predicts() == PredictNoise {
		return s.newPublished(n, schedule)
	}
	if s.adaptive() {
		return s.dopri5(schedule)
	}
	solver, err := s.solver(n, schedule)
	if err != nil {
		return nil, err
	}
	return solver, nil
}

// Levels returns the network's schedule.
func (n Network) Levels() (Schedule, error) {
	s, err := ParseSchedule(n.Schedule, Timesteps)
	if err != nil {
		return s, err
	}
	s.prediction, s.noise, s.floor = n.Prediction, n.NoiseScale, n.Floor
	switch {
	case !(n.NoiseScale >= 0) || math.IsInf(n.NoiseScale, 0) || n.NoiseScale > 0 && !s.IsFlow():
		return s, fmt.Errorf("noise scale %g: want a positive number, of a flow", n.NoiseScale)
	case n.Floor != 0 && (s.path != LinearPath || n.Prediction != PredictSample || !(n.Floor > 0 && n.Floor < 1)):
		return s, fmt.Errorf("floor %g of 1-t: want 0 to below 1, of a flow of path %s that predicts samples", n.Floor, LinearPath)
	}
	return s, n.Prediction.check(s)
}

// checkSteps reports a spacing that there is not, and a number of steps that is not that of a list.
func (s Sampling) checkSteps() error {
	if s.StepsOffset != 0 && s.Spacing != "leading" && !strings.HasPrefix(s.Spacing, "leading+") {
		return &FieldError{"StepsOffset", s.StepsOffset, "0: only the spacing leading has an offset"}
	}
	if named(s.Spacing) {
		return nil // the grid checks the number
	}
	if letters := strings.Trim(s.Spacing, "0123456789, -"); letters != "" && s.Spacing != strideSpacing {
		want := append([]string{"a list such as 10,15,20", strideSpacing}, Spacings()...)
		return &FieldError{"Spacing", abbreviate(s.Spacing), strings.Join(want, ", ") + spelling.Hint(Spacings(), s.Spacing)}
	}
	list, err := Space(Timesteps, s.StepsText())
	if err != nil {
		return err
	}
	if s.Steps != 0 && len(list) != s.Steps {
		return &FieldError{"Steps", s.Steps, fmt.Sprintf("%d, the sum of the sections %s", len(list), s.Spacing)}
	}
	return nil
}

// published tells whether s is one of the samplers of guided diffusion or the DPM-Solver++ that
// rounds as they do. They take the spacings of Space; ddpm takes all.
func (s Sampling) published() bool {
	if s.Sampler == "ddpm" {
		return true
	}
	return (s.Sampler == "ddim" || s.Sampler == "dpm++") && !named(s.Spacing) &&
		s.Order == 0 && s.Variant == "" && s.Final == "" && !s.NoLowerOrderFinal && !s.EulerAtFinal
}

func (s Sampling) newPublished(n Network, schedule Schedule) (Sampler, error) {
	process, err := s.process(schedule)
	if err != nil {
		return nil, err
	}
	switch s.Sampler {
	case "ddim":
		return DDIM{Process: process, Eta: s.Eta, ClipDenoised: s.Clip}, nil
	case "dpm++":
		return DPMSolver{Process: process, ClipDenoised: s.Clip}, nil
	}
	if n.Variance < LearnedRange || n.Variance > FixedLarge {
		return nil, fmt.Errorf("unknown variance %d", n.Variance)
	}
	return DDPM{Process: process, Variance: n.Variance, ClipDenoised: s.Clip}, nil
}

// process returns the schedule at the timesteps of s.
func (s Sampling) process(schedule Schedule) (*Process, error) {
	if !named(s.Spacing) {
		return NewProcess(schedule, s.StepsText())
	}
	g, err := s.grid(schedule, strideRule)
	if err != nil {
		return nil, err
	}
	n := len(g.points)
	timesteps, alphaCumprod := make([]float64, n), make([]float64, n)
	for k, p := range g.points {
		timesteps[n-1-k], alphaCumprod[n-1-k] = p.timestep, p.level.Alpha*p.level.Alpha
	}
	return processAt(timesteps, alphaCumprod), nil
}

// Guide returns the guidance.
func (s Sampling) Guide() Guidance {
	s = s.WithDefaults()
	g := Guidance{Scale: s.Guidance}
	if s.Guidance != 1 && s.GuidancePower > 0 {
		g.ScaleAt = PowerCosine(s.Guidance, s.GuidancePower)
	}
	if s.Guidance != 1 && s.GuidanceHigh > 0 {
		g.ScaleAt = Interval(g, s.GuidanceLow, s.GuidanceHigh)
	}
	if s.GuideAll {
		g.Kind = GuideAll
	}
	return g
}
