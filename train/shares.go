package train

import (
	"fmt"
	"strconv"
	"strings"
)

// Shares is a range of shares of the tokens, such as masks hide. As text it is one share, 0.3, or a
// range, 0.3-0.5.
type Shares struct{ Min, Max float64 }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Shares) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "-")
	if !isRange {
		high = low
	}
	var err, errHigh error
	r.Min, err = strconv.ParseFloat(low, 64)
	r.Max, errHigh = strconv.ParseFloat(high, 64)
	if err != nil || errHigh != nil {
		return fmt.Errorf("%q: want a share of the tokens, such as 0.3, or a range of them, such as 0.3-0.5", text)
	}
	return nil
}
