#pragma once

#include <functional>

#include "simulator/assess.h"

namespace archfront {

/// What a search knows of the simulator: a function it may call from one thread at a time, and a way to get another for
/// each further thread. All of one factory give the same answers. Searches are tested with made-up ones.
using AssessFunction = std::function<Assessment(const Architecture&)>;
using AssessFactory = std::function<AssessFunction()>;

}  // namespace archfront
