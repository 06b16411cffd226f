-- all columns
SELECT input.`id` AS `__0`, input.`city` AS `__1`, input.`age` AS `__2`, input.`score` AS `__3`, input.`amount` AS `__4`, input.`active` AS `__5`, input.`born` AS `__6`, input.`at` AS `__7`, input.`seen` AS `__8`, input.`raw` AS `__9`, input.`tags` AS `__10`, input.`more` AS `__11` FROM `shop`.`users` AS input LIMIT 5
-- {}

-- every comparison
SELECT input.`id` AS `__0` FROM `shop`.`users` AS input WHERE input.`age` = %(p0)s AND input.`age` <> %(p1)s AND input.`age` < %(p2)s AND input.`age` <= %(p3)s AND input.`age` > %(p4)s AND input.`age` >= %(p5)s AND input.`age` < input.`score` LIMIT 5
-- {"p0": 1, "p1": 2, "p2": 3, "p3": 4, "p4": 5, "p5": 6}

-- every kind of value
SELECT input.`id` AS `__0` FROM `shop`.`users` AS input WHERE input.`city` = %(p0)s OR input.`score` > %(p1)s OR input.`amount` >= %(p2)s OR input.`active` = %(p3)s OR input.`born` < %(p4)s OR input.`at` >= %(p5)s OR input.`seen` <= %(p6)s LIMIT 5
-- {"p0": "it's", "p1": 0.5, "p2": "12.50", "p3": true, "p4": "2000-01-31", "p5": "2026-01-01 00:00:00", "p6": "2026-01-01 12:00:00"}

-- lists and ranges
SELECT input.`id` AS `__0` FROM `shop`.`users` AS input WHERE input.`city` IN (%(p0_0)s, %(p0_1)s) AND NOT input.`age` IN (%(p1_0)s, %(p1_1)s, %(p1_2)s) AND (input.`age` >= %(p2)s AND input.`age` <= %(p3)s) AND (input.`score` < %(p4)s OR input.`score` > %(p5)s) LIMIT 5
-- {"p0_0": "oslo", "p0_1": "bergen", "p1_0": 1, "p1_1": 2, "p1_2": 3, "p2": 18, "p3": 65, "p4": 0.0, "p5": 1.0}

-- patterns and nulls
SELECT input.`id` AS `__0` FROM `shop`.`users` AS input WHERE input.`city` LIKE %(p0)s OR NOT input.`city` LIKE %(p1)s OR input.`city` LIKE %(p2)s OR input.`city` IS NULL OR NOT input.`age` IS NULL LIMIT 5
-- {"p0": "o_l%", "p1": "100\\%", "p2": "50\\%\\_\\\\%"}

-- not moves inwards
SELECT input.`id` AS `__0` FROM `shop`.`users` AS input WHERE input.`age` >= %(p0)s OR (input.`city` <> %(p1)s AND input.`city` IN (%(p2_0)s)) LIMIT 5
-- {"p0": 3, "p1": "a", "p2_0": "b"}

-- groups
SELECT input.`city` AS `__0`, COUNT(*) AS `__1`, COUNT(input.`age`) AS `__2`, COUNT(DISTINCT input.`age`) AS `__3`, SUM(input.`amount`) AS `__4`, MIN(input.`born`) AS `__5`, MAX(input.`at`) AS `__6`, AVG(input.`age` + 0e0) AS `__7` FROM `shop`.`users` AS input WHERE input.`active` = %(p0)s GROUP BY input.`city` HAVING COUNT(*) > %(p1)s AND input.`city` <> %(p2)s ORDER BY `__1` DESC, CASE WHEN input.`city` IS NULL THEN 1 ELSE 0 END, input.`city` ASC LIMIT 10
-- {"p0": true, "p1": 10, "p2": "oslo"}

-- sketches
-- refused: MySQL has no quantiles

-- tags
-- refused: lists can't be asked of mysql: no has_any, has_all, has_none

-- first page
SELECT input.`city` AS `__0`, input.`age` AS `__1` FROM `shop`.`users` AS input ORDER BY input.`age` DESC, CASE WHEN CAST(input.`city` AS BINARY) IS NULL THEN 1 ELSE 0 END, CAST(input.`city` AS BINARY) ASC LIMIT 3
-- {}

-- page behind a row
SELECT input.`city` AS `__0`, input.`age` AS `__1` FROM `shop`.`users` AS input WHERE input.`age` < %(p0)s OR input.`age` IS NULL OR (input.`age` = %(p0)s AND (CAST(input.`city` AS BINARY) > %(p1)s OR CAST(input.`city` AS BINARY) IS NULL OR CAST(input.`city` AS BINARY) = %(p1)s)) ORDER BY input.`age` DESC, CASE WHEN CAST(input.`city` AS BINARY) IS NULL THEN 1 ELSE 0 END, CAST(input.`city` AS BINARY) ASC LIMIT 3 OFFSET 1
-- {"p0": 41, "p1": "oslo"}

-- page behind a null
SELECT input.`city` AS `__0`, input.`age` AS `__1` FROM `shop`.`users` AS input WHERE input.`age` IS NULL AND (CAST(input.`city` AS BINARY) > %(p0)s OR CAST(input.`city` AS BINARY) IS NULL OR CAST(input.`city` AS BINARY) = %(p0)s) ORDER BY input.`age` DESC, CASE WHEN CAST(input.`city` AS BINARY) IS NULL THEN 1 ELSE 0 END, CAST(input.`city` AS BINARY) ASC LIMIT 3
-- {"p0": "oslo"}

-- page of groups
SELECT input.`__0` AS `__0`, input.`__1` AS `__1` FROM (SELECT COUNT(*) AS `__0`, input.`city` AS `__1` FROM `shop`.`users` AS input GROUP BY input.`city`) AS input WHERE input.`__0` < %(p0)s OR input.`__0` IS NULL OR (input.`__0` = %(p0)s AND (CAST(input.`__1` AS BINARY) > %(p1)s OR CAST(input.`__1` AS BINARY) IS NULL OR CAST(input.`__1` AS BINARY) = %(p1)s)) ORDER BY input.`__0` DESC, CASE WHEN CAST(input.`__1` AS BINARY) IS NULL THEN 1 ELSE 0 END, CAST(input.`__1` AS BINARY) ASC LIMIT 3
-- {"p0": 7, "p1": "oslo"}
