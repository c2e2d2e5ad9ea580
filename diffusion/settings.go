package diffusion

import "strconv"

// Setting is an option of a flow by the name that users know it by. A Value of "" is a switch that
// is on.
type Setting struct{ Name, Value string }

// FlowSettings returns the settings of s that only flows have, and the interval of guidance, where
// they are not the defaults.
func (s Sampling) FlowSettings() []Setting {
	var list []Setting
	number := func(name string, x float64) {
		if x != 0 {
			list = append(list, Setting{name, strconv.FormatFloat(x, 'g', -1, 64)})
		}
	}
	text := func(name, value string) {
		if value != "" {
			list = append(list, Setting{name, value})
		}
	}
	number("shift", s.Shift)
	if s.ShiftByResolution {
		list = append(list, Setting{Name: "shift-by-resolution"})
	}
	text("diffusion-form", s.Form)
	number("diffusion-norm", s.FormScale)
	text("last-step", s.LastStep)
	number("last-step-size", s.LastStepSize)
	number("sample-eps", s.SampleEps)
	number("atol", s.AbsTol)
	number("rtol", s.RelTol)
	number("guidance-low", s.GuidanceLow)
	number("guidance-high", s.GuidanceHigh)
	return list
}
