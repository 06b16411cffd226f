-- all columns
SELECT input."id" AS "__0", input."city" AS "__1", input."age" AS "__2", input."score" AS "__3", input."amount" AS "__4", input."active" AS "__5", input."born" AS "__6", input."at" AS "__7", input."seen" AS "__8", input."raw" AS "__9", input."tags" AS "__10", input."more" AS "__11" FROM "assets"."users__01jd" AS input LIMIT 5
-- {}

-- every comparison
SELECT input."id" AS "__0" FROM "assets"."users__01jd" AS input WHERE input."age" = {p0:Int64} AND input."age" <> {p1:Int64} AND input."age" < {p2:Int64} AND input."age" <= {p3:Int64} AND input."age" > {p4:Int64} AND input."age" >= {p5:Int64} AND input."age" < input."score" LIMIT 5
-- {"p0": 1, "p1": 2, "p2": 3, "p3": 4, "p4": 5, "p5": 6}

-- every kind of value
SELECT input."id" AS "__0" FROM "assets"."users__01jd" AS input WHERE input."city" = {p0:String} OR input."score" > {p1:Float64} OR input."amount" >= {p2:Decimal(76, 38)} OR input."active" = {p3:Bool} OR input."born" < {p4:Date32} OR input."at" >= {p5:DateTime64(6, 'UTC')} OR input."seen" <= {p6:DateTime64(6, 'UTC')} LIMIT 5
-- {"p0": "it's", "p1": 0.5, "p2": "12.50", "p3": true, "p4": "2000-01-31", "p5": "2026-01-01 00:00:00.000000", "p6": "2026-01-01 12:00:00.000000"}

-- lists and ranges
SELECT input."id" AS "__0" FROM "assets"."users__01jd" AS input WHERE input."city" IN {p0:Array(String)} AND (NOT (input."age" IN {p1:Array(Int64)}) AND NOT (input."age" IS NULL)) AND (input."age" >= {p2:Int64} AND input."age" <= {p3:Int64}) AND (input."score" < {p4:Float64} OR input."score" > {p5:Float64}) LIMIT 5
-- {"p0": ["oslo", "bergen"], "p1": [1, 2, 3], "p2": 18, "p3": 65, "p4": 0.0, "p5": 1.0}

-- patterns and nulls
SELECT input."id" AS "__0" FROM "assets"."users__01jd" AS input WHERE input."city" LIKE {p0:String} OR NOT input."city" LIKE {p1:String} OR input."city" LIKE {p2:String} OR input."city" IS NULL OR NOT (input."age" IS NULL) LIMIT 5
-- {"p0": "o_l%", "p1": "100\\%", "p2": "50\\%\\_\\\\%"}

-- not moves inwards
SELECT input."id" AS "__0" FROM "assets"."users__01jd" AS input WHERE input."age" >= {p0:Int64} OR (input."city" <> {p1:String} AND input."city" IN {p2:Array(String)}) LIMIT 5
-- {"p0": 3, "p1": "a", "p2": ["b"]}

-- groups
SELECT input."city" AS "__0", COUNT(*) AS "__1", COUNT(input."age") AS "__2", COUNT(DISTINCT input."age") AS "__3", SUM(input."amount") AS "__4", MIN(input."born") AS "__5", MAX(input."at") AS "__6", avg(input."age") AS "__7" FROM "assets"."users__01jd" AS input WHERE input."active" = {p0:Bool} GROUP BY input."city" HAVING COUNT(*) > {p1:Int64} AND input."city" <> {p2:String} ORDER BY "__1" DESC, "__0" ASC LIMIT 10
-- {"p0": true, "p1": 10, "p2": "oslo"}

-- sketches
SELECT uniqCombined64(input."id") AS "__0", quantileTDigest(0.99)(input."score") AS "__1" FROM "assets"."users__01jd" AS input LIMIT 10001
-- {}

-- tags
SELECT COUNT(*) AS "__0" FROM "assets"."users__01jd" AS input WHERE hasAny(input."tags", {p0:Array(String)}) AND hasAll(input."tags", {p1:Array(String)}) AND NOT hasAny(input."tags", {p2:Array(String)}) LIMIT 10001
-- {"p0": ["a", "b"], "p1": ["c"], "p2": ["d", "e"]}

-- first page
SELECT input."city" AS "__0", input."age" AS "__1" FROM "assets"."users__01jd" AS input ORDER BY input."age" DESC, input."city" ASC LIMIT 3
-- {}

-- page behind a row
SELECT input."city" AS "__0", input."age" AS "__1" FROM "assets"."users__01jd" AS input WHERE input."age" < {p0:Int64} OR input."age" IS NULL OR (input."age" = {p0:Int64} AND (input."city" > {p1:String} OR input."city" IS NULL OR input."city" = {p1:String})) ORDER BY input."age" DESC, input."city" ASC LIMIT 3 OFFSET 1
-- {"p0": 41, "p1": "oslo"}

-- page behind a null
SELECT input."city" AS "__0", input."age" AS "__1" FROM "assets"."users__01jd" AS input WHERE input."age" IS NULL AND (input."city" > {p0:String} OR input."city" IS NULL OR input."city" = {p0:String}) ORDER BY input."age" DESC, input."city" ASC LIMIT 3
-- {"p0": "oslo"}

-- page of groups
SELECT input."__0" AS "__0", input."__1" AS "__1" FROM (SELECT COUNT(*) AS "__0", input."city" AS "__1" FROM "assets"."users__01jd" AS input GROUP BY input."city") AS input WHERE input."__0" < {p0:Int64} OR input."__0" IS NULL OR (input."__0" = {p0:Int64} AND (input."__1" > {p1:String} OR input."__1" IS NULL OR input."__1" = {p1:String})) ORDER BY input."__0" DESC, input."__1" ASC LIMIT 3
-- {"p0": 7, "p1": "oslo"}
