package reuse

import (
	"fmt"
	"slices"
	"strings"
)

// method is a kind of policy that users can name.
type method struct {
	name string
	help string // what it caches and when it refreshes
	make func() settable
}

// settable is a Policy whose parameters are being read.
type settable interface {
	Policy
	Set(key, value string) error
	Validate() error
}

var methods = []method{
	{"tokencache", "On I-steps everything is computed; on P-steps each block computes the tokens that matter most, and the others get their cached update, or its forecast. " +
		"Parameters: steps=uniform|tprr|list, k, k1, k2, boundary, warmup, i=0+1+4+..., ratio, selection=per-block|global|grid, cell (of grid, 3), importance=random|update-norm, keys=kept|cached|fresh, cached=update|output, order=0|1|2, write-back, site=whole|body.",
		func() settable { t := DefaultTokenCache(); return &t }},
	{"fora", "Caches attention and MLP outputs; all is computed every n-th step. Parameters: n.", func() settable { return &FORA{N: 3} }},
	{"taylorseer", "Forecasts attention and MLP outputs by Taylor series; all is computed every n-th step, and at the first warmup. Parameters: n, order, warmup.",
		func() settable { return &TaylorSeer{Interval: 3, Order: 1, Warmup: 2} }},
	{"toca", "Caches attention and MLP outputs; between full steps it reuses attention and computes the MLP for the tokens that attention gives most. Parameters: n, ratio, scheduler=constant|ddim50|ddpm250, bonus.",
		func() settable { return &ToCa{N: 3, Ratio: 0.25, Scheduler: ConstantRatio, Bonus: 0.6} }},
	{"duca", "As toca, but every second step between full ones skips all blocks. Parameters: n, ratio, scheduler=constant|ddim50|ddpm250, bonus.",
		func() settable { return &ToCa{N: 3, Ratio: 0.25, Scheduler: ConstantRatio, Bonus: 0.8, Duca: true} }},
	{"fbcache", "Caches what the blocks after the first add to the tokens; a step computes them anew when the first block's update has changed by threshold or more since the last that did. Parameters: threshold, warmup, most.",
		func() settable { return &FBCache{Threshold: 0.1, Warmup: 1} }},
	{"dbcache", "As fbcache, but the first front blocks are compared, and the last back blocks always computed. Parameters: front, back, threshold, warmup, most.",
		func() settable { return &DBCache{Front: 2, Back: 1, Threshold: 0.1, Warmup: 1} }},
	{"teacache", "Caches what all blocks together add to the tokens; a step computes them anew when the changes of the first block's modulated input add up to threshold, and at the end. " +
		"Parameters: threshold, coefficients=c0+c1+... of the polynomial that the changes pass (calibrate fits them).",
		func() settable { return &TeaCache{Threshold: 0.15} }},
	{"deltadit", "Caches what a span of blocks adds to the tokens; all is computed every n-th step, in between the early steps skip the share span of the blocks at the back, and the late ones, from the share boundary of the steps on, " +
		"those in front. Parameters: n, span, boundary.",
		func() settable { return &DeltaDiT{N: 3, Span: 0.5, Boundary: 0.5} }},
	{"l2c", "Caches attention and MLP outputs; all is computed every second step, and at the others what trained routers say. Parameters: router=FILE, threshold.",
		func() settable { return &Routers{Threshold: 0.1} }},
	{"tome", "Caches nothing: before attention the share ratio of the tokens is merged into others that they resemble, at every step. Parameters: ratio, mlp=true to merge before the MLP too, seed.",
		func() settable { return &ToMe{Ratio: 0.5} }},
	{"random", "tokencache with importance=random: a control. Parameters: tokencache's.",
		func() settable { t := DefaultTokenCache(); t.Importance = Random; return &t }},
	{"update-norm", "tokencache with importance=update-norm: a control. Parameters: tokencache's.",
		func() settable { t := DefaultTokenCache(); t.Importance = UpdateNorm; return &t }},
}

// Names lists the methods that Parse knows.
func Names() []string {
	names := []string{"none"}
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// Help returns what the named method does.
func Help(name string) string {
	for _, m := range methods {
		if m.name == name {
			return m.help
		}
	}
	return ""
}

// Parse reads a policy as a user writes it: none, NAME, or NAME:key=value,key=value.
func Parse(text string) (Policy, error) {
	name, rest, _ := strings.Cut(text, ":")
	if name == "none" && rest == "" {
		return None{}, nil
	}
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == name })
	if i < 0 {
		return nil, fmt.Errorf("unknown policy %q: want one of %s, or the folder of a trained policy", name, strings.Join(Names(), ", "))
	}
	p := methods[i].make()
	if rest != "" {
		for _, pair := range strings.Split(rest, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return nil, fmt.Errorf("policy %s: %q: want key=value", name, pair)
			}
			if err := p.Set(key, value); err != nil {
				return nil, fmt.Errorf("policy %w", err)
			}
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	return p, nil
}
