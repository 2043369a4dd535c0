package scenario_test

import (
	"os"
	"testing"

	"berth/testing/scenario"
)

func TestMain(m *testing.M) { os.Exit(scenario.Main(m)) }
