package comparison

import (
	"errors"
	"testing"
)

// TestClimb checks that climb finds how many speeds pass, in few tries, and tries none after a
// first failure.
func TestClimb(t *testing.T) {
	speeds := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	for passing := range len(speeds) + 1 {
		tries := 0
		got, err := climb(speeds, func(speed float64) (bool, error) { tries++; return speed <= float64(passing), nil })
		if err != nil || got != passing || tries > 4 || passing == 0 && tries != 1 {
			t.Errorf("%d speeds pass: found %d after %d tries (%v)", passing, got, tries, err)
		}
	}
	broken := errors.New("broken")
	if _, err := climb(speeds, func(float64) (bool, error) { return true, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if n, err := climb(nil, nil); n != 0 || err != nil {
		t.Errorf("of no speeds %d pass (%v)", n, err)
	}
}
