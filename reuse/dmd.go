package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DMD forecasts a feature by dynamic mode decomposition: as a sum of exponentials in time, fitted
// to the last computed steps. From public code, of HiCache++ and of cache-dit, which both give it
// this name. All is computed at the first Warmup steps and then at every Interval-th.
//
// Of the last History computed steps, the latest that are evenly spaced count. Where there are at
// least four, the feature is what the linear propagator from each to the next (see dmdFit) makes of
// the last after h steps: its eigenvalues taken to the power of h over the spacing. Where there are
// fewer it is the straight line through the last two values, as in cache-dit; HiCache++ has a
// series of Hermite polynomials there. Where no fit is possible it is the last value.
//
// A sample's fit is its own. HiCache++ forecasts the prediction after guidance; here guidance's two
// halves are forecast each.
type DMD struct {
	Interval int    `policy:"n,interval,cache-interval" min:"1" help:"period of full steps"`
	Warmup   int    `policy:"warmup,first,first-enhance" min:"1" help:"full steps at the start"`
	History  int    `policy:"history,dmd-history" min:"4" max:"8" help:"computed steps that are kept"`
	Feature  string `policy:"feature" values:"output|hidden" help:"what is forecast: the model's output, or the last block's"`
}

// NewDMD returns a DMD with its defaults, those of HiCache++.
func NewDMD() *DMD { return &DMD{Interval: 5, Warmup: 4, History: 6, Feature: OutputFeature} }

// String returns the policy as Parse takes it.
func (p *DMD) String() string { return paramText("dmd", p) }

// Set changes one parameter.
func (p *DMD) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DMD) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *DMD) Kind() Kind { return Extrapolates }

// Granularity implements Described.
func (p *DMD) Granularity() Granularity { return ByStep }

// full reports whether a position computes everything.
func (p *DMD) full(position int) bool {
	return fullEvery(p.Warmup, p.Interval, position)
}

// CacheBytes implements Policy.
func (p *DMD) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	rows, width := featureSize(p.Feature, model.Shape())
	return 4 * int64(p.History) * int64(samples) * int64(rows) * int64(width), named("dmd", p.Validate())
}

// Shares implements Scheduled.
func (p *DMD) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("dmd", err)
	}
	return fullShares(plan, p.full), nil
}

// NewRun implements Policy.
func (p *DMD) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("dmd", err)
	}
	m := model.Shape()
	full := make([]bool, plan.Steps())
	for position := range full {
		full[position] = p.full(position)
	}
	rows, width := featureSize(p.Feature, m)
	r := &dmdRun{
		wholeSteps: newWholeSteps(m, samples, full),
		hidden:     p.Feature == HiddenFeature,
		rows:       rows,
		of:         make([]dmdSample, samples),
		products:   make([]float64, samples*rows*p.History),
	}
	for range p.History {
		r.snapshots = append(r.snapshots, newRows(samples*rows, width))
	}
	r.takeRow = r.take
	return r, nil
}

// dmdRun is the state of a DMD.
type dmdRun struct {
	wholeSteps
	hidden    bool
	rows      int              // of a sample's feature
	snapshots []*tensor.Tensor // in slots, each [samples*rows, width]
	of        []dmdSample

	feature  *tensor.Tensor // of the step that runs
	products []float64      // of each of its rows with that of each slot
	takeRow  func(row int)
}

// dmdSample is what is known of a sample's snapshots.
type dmdSample struct {
	count    int                             // of those taken; the i-th is in slot i modulo the slots
	at       [maxHistory]int                 // of each slot: the position
	products [maxHistory][maxHistory]float64 // scalar products, by slots
	fit      dmdFit
	fitted   int                 // the count that fit is of
	ok       bool                // there is a fit
	weights  [maxHistory]float32 // of each slot, in the forecast of the step that runs
}

// Apply implements seam.Reuse.
func (r *dmdRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := r.block(x, f)
	if r.hidden && r.isLast(at) {
		r.finish(y.X)
	}
	return y
}

// Finish implements seam.Finisher.
func (r *dmdRun) Finish(out *tensor.Tensor) bool {
	if !r.hidden {
		r.finish(out)
	}
	return false
}

// finish takes the features of samples that compute as snapshots, and sets those of others to their
// forecasts.
func (r *dmdRun) finish(feature *tensor.Tensor) {
	r.feature = feature
	slots := len(r.snapshots)
	for s, p := range r.positions {
		if d := &r.of[s]; r.full[p] {
			d.add(p, slots)
		} else {
			d.forecast(p, slots)
		}
	}
	r.g.EachRow(feature.Rows, feature.Cols*slots, r.takeRow)
	for s, p := range r.positions {
		if r.full[p] {
			r.of[s].multiply(r.products[s*r.rows*slots:(s+1)*r.rows*slots], slots)
		}
	}
}

// take is finish for a row.
func (r *dmdRun) take(row int) {
	d, x := &r.of[row/r.rows], r.feature.Row(row)
	slots := len(r.snapshots)
	if !r.full[r.positions[row/r.rows]] {
		clear(x)
		for slot, w := range d.weights[:slots] {
			if w != 0 {
				kernel.AXPY(x, w, r.snapshots[slot].Row(row))
			}
		}
		return
	}
	copy(r.snapshots[d.slot(1, slots)].Row(row), x)
	for slot := range min(d.count, slots) {
		sum := 0.0
		for i, v := range r.snapshots[slot].Row(row) {
			sum += float64(v) * float64(x[i])
		}
		r.products[row*slots+slot] = sum
	}
}

// slot returns the slot of the i-th last snapshot, counted from 1.
func (d *dmdSample) slot(i, slots int) int { return (d.count - i) % slots }

// add makes room for a snapshot at a position.
func (d *dmdSample) add(position, slots int) {
	if d.count > 0 && position <= d.at[d.slot(1, slots)] {
		d.count, d.fitted = 0, 0 // the positions began anew
	}
	d.count++
	d.at[d.slot(1, slots)] = position
}

// multiply takes in the last snapshot's scalar products with all, given by rows and slots.
func (d *dmdSample) multiply(byRow []float64, slots int) {
	last := d.slot(1, slots)
	for slot := range min(d.count, slots) {
		sum := 0.0
		for i := slot; i < len(byRow); i += slots {
			sum += byRow[i]
		}
		d.products[last][slot], d.products[slot][last] = sum, sum
	}
}

// even returns how many of the latest snapshots are evenly spaced.
func (d *dmdSample) even(slots int) int {
	kept := min(d.count, slots)
	at := func(i int) int { return d.at[d.slot(i, slots)] }
	n := min(kept, 2)
	for n >= 2 && n < kept && at(n)-at(n+1) == at(1)-at(2) {
		n++
	}
	return n
}

// forecast sets the weights of the snapshots in the forecast at a position.
func (d *dmdSample) forecast(position, slots int) {
	d.weights = [maxHistory]float32{}
	last, even := d.slot(1, slots), d.even(slots)
	if even < 2 {
		d.weights[last] = 1
		return
	}
	before := d.slot(2, slots)
	k := float64(position-d.at[last]) / float64(d.at[last]-d.at[before])
	if even < minHistory {
		d.weights[last], d.weights[before] = float32(1+k), float32(-k)
		return
	}
	if d.fitted != d.count {
		var products [maxHistory][maxHistory]float64
		for i := range even {
			for j := range even {
				products[i][j] = d.products[d.slot(even-i, slots)][d.slot(even-j, slots)]
			}
		}
		d.fit, d.ok = fitDMD(&products, even)
		d.fitted = d.count
	}
	var list [maxSmall]float32
	if !d.ok || !d.fit.weights(list[:], k) {
		d.weights[last] = 1
		return
	}
	for i, w := range list[:even-1] {
		d.weights[d.slot(even-1-i, slots)] = w
	}
}

// Reset implements Run.
func (r *dmdRun) Reset() {
	for s := range r.of {
		r.of[s].count, r.of[s].fitted = 0, 0
	}
}
