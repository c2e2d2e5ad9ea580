package redundancy

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Report says in numbers what there is to reuse between a model's steps, and what a policy reuses.
type Report struct {
	Model       string       `json:"model"` // as its user named it
	Fingerprint string       `json:"fingerprint"`
	Sampler     string       `json:"sampler"`
	Steps       int          `json:"steps"`
	CFG         float64      `json:"cfg"`
	CFGPower    float64      `json:"cfg_power"`
	Seed        uint64       `json:"seed"`
	Classes     []int        `json:"classes,omitempty"`
	Prompts     []string     `json:"prompts,omitempty"` // of a text-to-image model
	Policy      string       `json:"policy"`
	Change      float64      `json:"mean_change"`          // of updates from a step to the next, relative
	ChangeBlock []float64    `json:"mean_change_of_block"` // likewise, of each
	Alike       []AlikeBlock `json:"alike"`
	ISteps      []int        `json:"i_steps"`
	Computed    float64      `json:"tokens_computed"` // share of all tokens of all blocks and steps
	Importance  string       `json:"importance"`      // kind
	Alpha       []*float64   `json:"mean_alpha"`      // importance at each step; nil where nothing is ranked

	// Whether computing tokens at P-steps pays: see Tokens. Absent with fewer than three steps.
	Concentration Concentration `json:"concentration,omitempty"`
	BreakEven     *float64      `json:"break_even,omitempty"`
	OracleGain    *float64      `json:"oracle_gain_db,omitempty"`
	Advice        string        `json:"advice,omitempty"`
	Tokens        *Tokens       `json:"tokens,omitempty"`

	Files []string `json:"files"`
}

// AlikeBlock says how alike a block's tokens are from a step to the next, as mean cosines.
type AlikeBlock struct {
	Block   int     `json:"block"`
	Updates float64 `json:"updates"`
	Output  float64 `json:"output"`
}

// Look generates the images of o, without a policy, with o.Policy and with what MeasureTokens
// tries, writes figures to dir, and reports the numbers. Importance is the policy's, or where it
// ranks no tokens the update-norm of the uncached model.
func Look(ctx context.Context, p *tokencache.Pipeline, o Options, dir string) (*Report, error) {
	checked := o.Request
	checked.Policy = o.Policy
	if err := p.Check(checked); err != nil {
		return nil, err
	}
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, err
	}
	w, err := WatchUncached(ctx, p, o)
	if err != nil {
		return nil, err
	}
	r, frames, err := RecordFrames(ctx, p, o)
	if err != nil {
		return nil, err
	}
	m := r.Importance
	if m == nil {
		m = w.Importance()
	}
	report := newReport(p, o, w, r, m)
	t, err := MeasureTokens(ctx, p, o, len(r.ISteps))
	if err != nil {
		return nil, err
	}
	report.setTokens(t)
	if report.Files, err = writeFigures(dir, p, o, w, r, m, frames); err != nil || t == nil {
		return report, err
	}
	file, err := t.Draw(dir, p.Name(), r.Images)
	report.Files = append(report.Files, file)
	return report, err
}

func (r *Report) setTokens(t *Tokens) {
	if t == nil {
		return
	}
	r.Concentration, r.BreakEven, r.OracleGain = t.Rankings[0].Concentration, t.BreakEven, t.OracleGain
	r.Advice, r.Tokens = t.Advice(), t
}

func newReport(p *tokencache.Pipeline, o Options, w *Watch, r *Record, m *Importance) *Report {
	s := o.Request.Sampling.WithDefaults()
	report := &Report{
		Fingerprint: p.Fingerprint(),
		Sampler:     s.Sampler,
		Steps:       w.Steps,
		CFG:         s.Guidance,
		CFGPower:    s.GuidancePower,
		Seed:        o.Request.Seed,
		Classes:     o.Request.Classes,
		Policy:      r.Policy,
		Change:      w.MeanChange(),
		ISteps:      r.ISteps,
		Computed:    r.Computed(),
		Importance:  m.Kind,
	}
	if p.TakesPrompts() {
		report.Prompts = p.Labels(o.Request)
	}
	for l := range w.Blocks {
		report.ChangeBlock = append(report.ChangeBlock, w.BlockChange(l))
	}
	for _, s := range w.Alike {
		report.Alike = append(report.Alike, AlikeBlock{s.Block, Neighbours(s.Updates), Neighbours(s.Output)})
	}
	for _, v := range m.Mean {
		if math.IsNaN(v) {
			report.Alpha = append(report.Alpha, nil)
		} else {
			report.Alpha = append(report.Alpha, &v)
		}
	}
	return report
}

// writeFigures writes all figures to dir and returns their files.
func writeFigures(
	dir string, p *tokencache.Pipeline, o Options, w *Watch, r *Record, m *Importance, frames []Frame,
) ([]string, error) {
	name := p.Name()
	files, err := w.Draw(dir, name)
	if err != nil {
		return nil, err
	}
	alpha, err := m.Draw(dir, name, r.Images)
	if err != nil {
		return nil, err
	}
	schedule, err := r.DrawSchedule(dir, name)
	if err != nil {
		return nil, err
	}
	overlay, err := r.DrawOverlay(dir, name, frames, p.Labels(o.Request))
	return append(append(files, alpha, schedule), overlay...), err
}

// Summary says the main numbers in a line.
func (r *Report) Summary() string {
	return fmt.Sprintf("an update changes by %.1f %% from a step to the next; "+
		"%s: %d I-steps of %d, %.1f %% of the tokens computed",
		100*r.Change, r.Policy, len(r.ISteps), r.Steps, 100*r.Computed)
}
