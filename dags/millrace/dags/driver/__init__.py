"""The program that spark-submit runs; alone in its folder, because Python looks for modules there first."""
