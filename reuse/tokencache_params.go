package reuse

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// Importance is where the importance of tokens comes from.
type Importance string

const (
	// Random takes the same pseudo-random numbers for every sample, others at every step.
	Random Importance = "random"
	// UpdateNorm ranks tokens by the size of the last term of their forecast, |d_m|² times the square
	// of its factor: what the forecast differs by from that of an order less. Where there is but one
	// term it is the update times the steps since it was computed.
	UpdateNorm Importance = "update-norm"
	// Static is the first version's predictor: a network of block and timestep.
	Static Importance = "static"
	// Dynamic is the second version's predictor: a transformer block that reads x_t and the
	// conditioning.
	Dynamic Importance = "dynamic"
)

// Keys says whose keys and values the tokens that a P-step computes attend to.
type Keys string

const (
	// KeptKeys are those of the computed tokens alone.
	KeptKeys Keys = "kept"
	// CachedKeys are also those of the other tokens, from a KV cache: as they were when these were
	// computed last.
	CachedKeys Keys = "cached"
	// ForecastKeys are likewise, but forecast as the tokens' updates are.
	ForecastKeys Keys = "forecast"
	// FreshKeys are those of all tokens as they are now, which costs their projection.
	FreshKeys Keys = "fresh"
)

// Cached is what the cache holds of a token.
type Cached string

const (
	// Update is what the block added to the token: the second version's superposition.
	Update Cached = "update"
	// Output is the token after the block: the first version's.
	Output Cached = "output"
)

// Basis is the form of a forecast. Newton and Taylor differ from order 2 on.
type Basis string

const (
	// Newton is the polynomial through the values at the positions at which they were computed. It
	// is what "" means.
	Newton Basis = "newton"
	// Taylor is the series of backward differences, as TaylorSeer has it.
	Taylor Basis = "taylor"
	// Hermite is HiCache's series of scaled Hermite polynomials, with its default scale.
	Hermite Basis = "hermite"
)

// MarshalText implements encoding.TextMarshaler: files always name the basis.
func (b Basis) MarshalText() ([]byte, error) { return []byte(cmp.Or(b, Newton)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Basis) UnmarshalText(text []byte) error {
	if *b = Basis(text); *b == Newton {
		*b = ""
	}
	return nil
}

// UnmarshalJSON implements json.Unmarshaler. Files that name no basis are from before there was a
// choice, when it was Taylor's.
func (t *TokenCache) UnmarshalJSON(b []byte) error {
	type fields TokenCache
	f := fields(*t)
	f.Basis = Taylor
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return err
	}
	*t = TokenCache(f)
	return nil
}

// differencesBytes returns the memory of differences.
func (t *TokenCache) differencesBytes(format tensor.DType, sites, rows, width int) int64 {
	if t.Learned {
		return differencesBytes(format, sites, rows, width, t.Forecast.Terms-1)
	}
	return t.Basis.bytes(format, sites, rows, width, t.Order)
}

// differences returns empty differences in the form of the basis, as newDifferences.
func (b Basis) differences(format tensor.DType, sites, rows, width, order int) *differences {
	switch b {
	case Taylor:
		return newDifferences(format, sites, rows, width, order)
	case Hermite:
		d, series := newDifferences(format, sites, rows, width, order), NewHiCache()
		series.Order = order
		d.weights = series.weights(diffusion.Timesteps)
		return d
	}
	return newNewton(format, sites, rows, width, order)
}

// differences returns empty differences of the policy's basis and order, over its time, or the last
// values for learned weights.
func (p *resolved) differences(format tensor.DType, sites, rows, width int) *differences {
	if p.Learned {
		return newLearned(format, sites, rows, width, p.Forecast)
	}
	d := p.Basis.differences(format, sites, rows, width, p.Order)
	if d.times = p.times; d.times != nil && p.Basis == Hermite {
		series := NewHiCache()
		series.Order = p.Order
		d.between = series.between(d.times)
	}
	return d
}

// bytes returns the memory of differences.
func (b Basis) bytes(format tensor.DType, sites, rows, width, order int) int64 {
	if b == Taylor || b == Hermite {
		return differencesBytes(format, sites, rows, width, order)
	}
	return newtonBytes(format, sites, rows, width, order)
}

// PruneSite is what of a block with a long skip (MDTv2) is not computed for pruned tokens; of other
// blocks it is always the whole.
type PruneSite string

const (
	// WholeSite is the block with the linear map that joins the skip: a cached update stands for
	// both. It is what "" means.
	WholeSite PruneSite = "whole"
	// BodySite is the two branches: the map is computed of every token with its present skip.
	BodySite PruneSite = "body"
)

// String returns the policy as Parse takes it.
func (t *TokenCache) String() string { return paramText("tokencache", t) }

// written implements writer.
func (t *TokenCache) written() []string {
	names := []string{"steps"}
	switch t.Steps.Kind {
	case UniformSteps:
		names = append(names, "k")
	case TPRR:
		names = append(names, "k1", "k2", "boundary")
	case ListedSteps:
		names = append(names, "i")
	}
	if len(t.Steps.Half) > 0 {
		names = append(names, "half")
	}
	names = append(names, "warmup", "ratio")
	if t.Ratio > 0 {
		names = append(names, "selection")
		if t.Selection == Grid {
			names = append(names, "cell")
		}
		names = append(names, "at", "importance", "keys", "write-back")
	}
	names = append(names, "cached")
	if t.Learned {
		names = append(names, "learned")
	} else {
		names = append(names, "order")
		if t.Order > 1 || t.Order == 1 && t.Basis == Hermite {
			names = append(names, "basis")
		}
		if t.Order > 0 {
			names = t.Time.written(names...)
		}
	}
	if t.Site == BodySite {
		names = append(names, "site")
	}
	if t.Seed != 0 {
		names = append(names, "seed")
	}
	return names
}

// idle implements idler.
func (t *TokenCache) idle() []string {
	if t.Ratio == 0 || t.Importance != Random {
		return []string{"seed"}
	}
	return nil
}

// Set changes one parameter, by any of its names.
func (t *TokenCache) Set(key, value string) error { return setParam(t, key, value) }

// afterSet implements setter.
func (t *TokenCache) afterSet(name string) error {
	if name == "selection" && t.Selection == Grid && t.Cell == 0 {
		t.Cell = defaultCell
	}
	return nil
}

// Validate reports parameters that have no meaning.
func (t *TokenCache) Validate() error {
	if err := checkParams(t); err != nil {
		return err
	}
	switch {
	case t.Selection == Grid && t.Ratio > 0 && t.Ratio < MinRatio(Grid, t.Cell):
		return fmt.Errorf(
			"ratio=%g: selection=%s with cell=%d computes %g of the tokens at least; want more, a larger cell, or 0",
			t.Ratio, Grid, t.Cell, MinRatio(Grid, t.Cell))
	case t.Site == BodySite && (t.Learned || t.needsPredictor()):
		return fmt.Errorf("site=%s: want importance %s or %s and no learned forecasts: what is learned is of whole blocks",
			BodySite, Random, UpdateNorm)
	case t.Learned && t.Cached != Update:
		return fmt.Errorf("learned=true: want cached=%s", Update)
	case t.Learned && t.Ratio > 0 && (t.Importance != Random || t.WriteBack):
		return fmt.Errorf("learned=true where P-steps compute tokens: want importance=%s and write-back=false, "+
			"forecasts from I-steps alone", Random)
	case len(t.Steps.Half) > 0 && (!t.Learned || t.Ratio > 0):
		return errors.New("half steps: want learned=true and ratio=0, forecasts of guidance's difference")
	case t.Learned && t.Forecast == nil:
		return errors.New("a learned forecast needs its weights: calibrate a policy, and use its folder")
	case t.needsPredictor() && t.Predictor == nil:
		return fmt.Errorf("importance=%s needs a trained predictor: calibrate a policy, and use its folder",
			t.Importance)
	}
	return nil
}
