package reuse

import "fmt"

// KeySteps says which steps compute everything, where a plan made beforehand says so: the first
// Warmup ones, and those of a list or, without one, every Interval-th after the first.
type KeySteps struct {
	List     []int `json:"i,omitempty" policy:"i" min:"0" default:"none" help:"positions of the steps that compute everything, as in 0+3+7"`
	Interval int   `json:"n,omitempty" policy:"n,interval,cache-interval" min:"1" help:"period of such steps, where none are listed"`
	Warmup   int   `json:"warmup,omitempty" policy:"warmup,first" min:"1" help:"such steps at the start"`
}

// names are those of the parameters that matter.
func (k *KeySteps) names() []string {
	if len(k.List) > 0 {
		return []string{"i", "warmup"}
	}
	return []string{"n", "warmup"}
}

// check reports a list that does not rise.
func (k *KeySteps) check() error {
	for i := 1; i < len(k.List); i++ {
		if k.List[i] <= k.List[i-1] {
			return fmt.Errorf("i: position %d after %d: want positions that rise", k.List[i], k.List[i-1])
		}
	}
	return nil
}

// resolve returns for each of steps positions whether it computes everything.
func (k *KeySteps) resolve(steps int) ([]bool, error) {
	full := make([]bool, steps)
	for p := range min(max(k.Warmup, 1), steps) {
		full[p] = true
	}
	for _, p := range k.List {
		if p < 0 || p >= steps {
			return nil, fmt.Errorf("i: position %d: the plan has %d steps", p, steps)
		}
		full[p] = true
	}
	if len(k.List) == 0 {
		for p := max(k.Warmup, 1) - 1; p < steps; p += min(max(k.Interval, 1), steps) {
			full[p] = true
		}
	}
	return full, nil
}
