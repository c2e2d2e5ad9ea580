package reuse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Importance is where the importance of tokens comes from.
type Importance string

const (
	// Random is a control: the same pseudo-random numbers for every sample, others at every step.
	Random Importance = "random"
	// UpdateNorm is a control: the size of a token's last change of its update or, where forecasts use none, of the update itself.
	UpdateNorm Importance = "update-norm"
	// Static is the first version's predictor: a network of block and timestep.
	Static Importance = "static"
	// Dynamic is the second version's predictor: a transformer block that reads x_t and the conditioning.
	Dynamic Importance = "dynamic"
)

// Keys is what the tokens that a P-step computes attend to.
type Keys string

const (
	// KeptKeys are those of the computed tokens alone.
	KeptKeys Keys = "kept"
	// CachedKeys are also those of the other tokens, as they were when these were computed last.
	CachedKeys Keys = "cached"
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

// PruneSite is what of a block with a long skip (MDTv2) pruned tokens are spared; of other blocks it is always the whole.
type PruneSite string

const (
	// WholeSite is the block with the linear map that joins the skip: a cached update stands for both. It is what "" means.
	WholeSite PruneSite = "whole"
	// BodySite is the two branches: the map is computed of every token with its present skip.
	BodySite PruneSite = "body"
)

// String returns the policy as Parse takes it.
func (t *TokenCache) String() string {
	list := []string{"steps=" + string(t.Steps.Kind)}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch t.Steps.Kind {
	case UniformSteps:
		add("k=%d", t.Steps.K1)
	case TPRR:
		add("k1=%d,k2=%d,boundary=%g", t.Steps.K1, t.Steps.K2, t.Steps.Boundary)
	case ListedSteps:
		add("i=%s", positions(t.Steps.List))
	}
	if len(t.Steps.Half) > 0 {
		add("half=%s", positions(t.Steps.Half))
	}
	add("warmup=%d,ratio=%g", t.Steps.Warmup, t.Ratio)
	if t.Ratio > 0 {
		add("selection=%s", t.Selection)
	}
	if t.Ratio > 0 && t.Selection == Grid {
		add("cell=%d", t.Cell)
	}
	if t.Ratio > 0 {
		add("importance=%s,keys=%s,write-back=%t", t.Importance, t.Keys, t.WriteBack)
	}
	add("cached=%s", t.Cached)
	if t.Learned {
		add("learned=true")
	} else {
		add("order=%d", t.Order)
	}
	if t.Site == BodySite {
		add("site=%s", t.Site)
	}
	if t.Seed != 0 {
		add("seed=%d", t.Seed)
	}
	return "tokencache:" + strings.Join(list, ",")
}

// positions returns a list as a user writes it: 0+3+7.
func positions(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", "+"), "[]")
}

// Set changes one parameter, by the name that String gives it.
func (t *TokenCache) Set(key, value string) error {
	var err error
	number := func(into *int) { *into, err = strconv.Atoi(value) }
	list := func(into *[]int) {
		*into = nil
		for _, s := range strings.Split(value, "+") {
			p := 0
			if p, err = strconv.Atoi(s); err != nil {
				break
			}
			*into = append(*into, p)
		}
	}
	switch key {
	case "steps":
		t.Steps.Kind = StepKind(value)
	case "k", "k1":
		number(&t.Steps.K1)
	case "k2":
		number(&t.Steps.K2)
	case "boundary":
		t.Steps.Boundary, err = strconv.ParseFloat(value, 64)
	case "warmup":
		number(&t.Steps.Warmup)
	case "i":
		list(&t.Steps.List)
	case "half":
		list(&t.Steps.Half)
	case "ratio":
		t.Ratio, err = strconv.ParseFloat(value, 64)
	case "selection":
		if t.Selection = Selection(value); t.Selection == Grid && t.Cell == 0 {
			t.Cell = defaultCell
		}
	case "cell":
		number(&t.Cell)
	case "importance":
		t.Importance = Importance(value)
	case "keys":
		t.Keys = Keys(value)
	case "cached":
		t.Cached = Cached(value)
	case "order":
		number(&t.Order)
	case "learned":
		t.Learned, err = strconv.ParseBool(value)
	case "write-back":
		t.WriteBack, err = strconv.ParseBool(value)
	case "seed":
		t.Seed, err = strconv.ParseUint(value, 10, 64)
	case "site":
		if t.Site = PruneSite(value); t.Site == WholeSite {
			t.Site = "" // as in policies that do not say
		}
	default:
		return fmt.Errorf("tokencache has no parameter %q: want steps, k, k1, k2, boundary, warmup, i, half, ratio, selection, cell, importance, keys, cached, order, learned, write-back, seed or site", key)
	}
	if err != nil {
		return fmt.Errorf("tokencache: %s=%s: not a value of that parameter", key, value)
	}
	return nil
}

// Validate reports parameters that have no meaning.
func (t *TokenCache) Validate() error {
	switch {
	case t.Importance != Random && t.Importance != UpdateNorm && t.Importance != Static && t.Importance != Dynamic:
		return fmt.Errorf("unknown importance %q: want %s, %s, %s or %s", t.Importance, Random, UpdateNorm, Static, Dynamic)
	case t.Keys != KeptKeys && t.Keys != CachedKeys && t.Keys != FreshKeys:
		return fmt.Errorf("unknown keys %q: want %s, %s or %s", t.Keys, KeptKeys, CachedKeys, FreshKeys)
	case t.Cached != Update && t.Cached != Output:
		return fmt.Errorf("unknown cache %q: want %s or %s", t.Cached, Update, Output)
	case t.Site != "" && t.Site != WholeSite && t.Site != BodySite:
		return fmt.Errorf("unknown site %q: want %s or %s", t.Site, WholeSite, BodySite)
	case t.Site == BodySite && (t.Learned || t.needsPredictor()):
		return fmt.Errorf("site=%s goes with importance %s or %s and without learned forecasts: what calibrate learns is of whole blocks", BodySite, Random, UpdateNorm)
	case t.Order < 0 || t.Order > mostOrder:
		return fmt.Errorf("forecast of order %d: want 0 to %d", t.Order, mostOrder)
	case t.Learned && !t.stacked():
		return errors.New("a learned forecast goes with ratio=0 and cached=update: P-steps that compute nothing")
	case len(t.Steps.Half) > 0 && !t.Learned:
		return errors.New("half steps go with a learned forecast, of what guidance's halves differ by: learned=true")
	case t.Learned && t.Forecast == nil:
		return errors.New("a learned forecast needs its weights: make them with calibrate, and give its folder as the policy")
	case t.needsPredictor() && t.Predictor == nil:
		return fmt.Errorf("importance %s needs a trained predictor: make one with calibrate, and give its folder as the policy", t.Importance)
	}
	return nil
}
